// Three analog inputs as edgetl frames, 100 a second; schemas/edgetl_frame.toml says what they are.
//
//   0x00  COBS( stream u8, sequence u16, stamp u32 in us, payload, CRC-32 )  0x00      all little-endian

const unsigned long PERIOD_US = 10000;
const uint8_t STREAM = 0;
const uint8_t MOST_PAYLOAD = 243;  // so that one code byte is enough

static uint16_t sequenceNumber = 0;
static uint32_t nextUs = 0;

uint32_t crc32(const uint8_t *data, uint16_t size) {
  uint32_t crc = 0xFFFFFFFFUL;
  while (size--) {
    crc ^= *data++;
    for (uint8_t bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320UL & -(crc & 1));
  }
  return ~crc;
}

uint8_t *put(uint8_t *at, uint32_t value, uint8_t bytes) {
  while (bytes--) {
    *at++ = (uint8_t)value;
    value >>= 8;
  }
  return at;
}

void sendFrame(const uint8_t *payload, uint8_t size, uint32_t stampUs) {
  static uint8_t frame[1 + 1 + 7 + MOST_PAYLOAD + 4 + 1];
  if (size > MOST_PAYLOAD) return;
  uint8_t *content = frame + 2;  // after the zero and the first code byte
  uint8_t *at = put(content, STREAM, 1);
  at = put(at, sequenceNumber++, 2);
  at = put(at, stampUs, 4);
  memcpy(at, payload, size);
  at += size;
  at = put(at, crc32(content, at - content), 4);
  // COBS in place: every zero becomes the distance to the next, and the last points at the end.
  uint8_t *code = frame + 1;
  for (uint8_t *byte = content; byte < at; byte++) {
    if (*byte == 0) {
      *code = byte - code;
      code = byte;
    }
  }
  *code = at - code;
  frame[0] = 0;
  *at++ = 0;
  Serial.write(frame, at - frame);
}

void setup() {
  Serial.begin(115200);
  nextUs = micros();
}

void loop() {
  if ((int32_t)((uint32_t)micros() - nextUs) < 0) return;
  nextUs += PERIOD_US;
  uint32_t stampUs = micros();
  uint8_t payload[6], *at = payload;
  for (uint8_t input = 0; input < 3; input++) at = put(at, analogRead(input), 2);
  sendFrame(payload, sizeof payload, stampUs);
}
