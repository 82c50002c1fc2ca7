// Three analog inputs as packed bytes, 100 a second: 0xAA 0x55, u32 microseconds, three u16, sum of all bytes before.
// schemas/packed_binary.toml says what they are. Damaged frames pass once in 250: prefer edgetl_frame.

const unsigned long PERIOD_US = 10000;

static uint32_t nextUs = 0;

void setup() {
  Serial.begin(115200);
  nextUs = micros();
}

void loop() {
  if ((int32_t)((uint32_t)micros() - nextUs) < 0) return;
  nextUs += PERIOD_US;
  uint8_t frame[13] = {0xAA, 0x55}, *at = frame + 2;
  uint32_t stampUs = micros();
  for (uint8_t shift = 0; shift < 32; shift += 8) *at++ = (uint8_t)(stampUs >> shift);
  for (uint8_t input = 0; input < 3; input++) {
    uint16_t value = analogRead(input);
    *at++ = (uint8_t)value;
    *at++ = (uint8_t)(value >> 8);
  }
  uint8_t sum = 0;
  for (uint8_t *byte = frame; byte < at; byte++) sum += *byte;
  *at++ = sum;
  Serial.write(frame, at - frame);
}
