// Three analog inputs as lines, 100 a second: microseconds,a0,a1,a2*CRC-32; schemas/csv_lines.toml says what they are.

const unsigned long PERIOD_US = 10000;

static uint32_t nextUs = 0;

uint32_t crc32(const uint8_t *data, uint16_t size) {
  uint32_t crc = 0xFFFFFFFFUL;
  while (size--) {
    crc ^= *data++;
    for (uint8_t bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320UL & -(crc & 1));
  }
  return ~crc;
}

void setup() {
  Serial.begin(115200);
  nextUs = micros();
}

void loop() {
  if ((int32_t)((uint32_t)micros() - nextUs) < 0) return;
  nextUs += PERIOD_US;
  char line[64];
  unsigned long stampUs = micros();
  int size = snprintf(line, sizeof line, "%lu,%d,%d,%d", stampUs, analogRead(0), analogRead(1), analogRead(2));
  snprintf(line + size, sizeof line - size, "*%08lX\r\n", (unsigned long)crc32((const uint8_t *)line, size));
  Serial.print(line);
}
