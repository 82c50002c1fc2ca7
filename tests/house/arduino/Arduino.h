// As much of Arduino as the sketches of examples/ use, so that they run here as they stand: a clock that a loop moves by
// 2.5 ms, inputs that follow from the sample's number, and a serial line that is the standard output.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static unsigned long now_us = 4294900000UL;  // the clock wraps around on the way
static long samples = 0;

inline unsigned long micros() { return (unsigned long)(uint32_t)now_us; }
inline int analogRead(int input) { return (samples * 37 + input * 341) % 1024 * (samples % 5 != 0); }

struct {
  void begin(long) {}
  void write(const uint8_t *data, size_t size) { fwrite(data, 1, size, stdout); samples++; }
  void print(const char *text) { write((const uint8_t *)text, strlen(text)); }
} Serial;

void setup();
void loop();

int main() {
  setup();
  while (samples < 200) {
    loop();
    now_us += 2500;
  }
}
