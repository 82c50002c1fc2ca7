// Three analog inputs as NMEA sentences, 100 a second: $PADCA,microseconds,a0,a1,a2*checksum; see schemas/nmea.toml.

const unsigned long PERIOD_US = 10000;

static uint32_t nextUs = 0;

void setup() {
  Serial.begin(115200);
  nextUs = micros();
}

void loop() {
  if ((int32_t)((uint32_t)micros() - nextUs) < 0) return;
  nextUs += PERIOD_US;
  char line[64];
  unsigned long stampUs = micros();
  int size = snprintf(line, sizeof line, "$PADCA,%lu,%d,%d,%d", stampUs, analogRead(0), analogRead(1), analogRead(2));
  uint8_t folded = 0;
  for (int place = 1; place < size; place++) folded ^= (uint8_t)line[place];
  snprintf(line + size, sizeof line - size, "*%02X\r\n", folded);
  Serial.print(line);
}
