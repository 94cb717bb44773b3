#pragma once
// Memory that a forward pass needs and leaves to the next one.
#include <cstddef>
#include <cstdint>
#include <map>
#include <new>
#include <string>
#include <vector>

// A buffer that grows and is never cleared; 64-byte aligned.
class Buffer {
 public:
  template <class T>
  T* of(size_t count) {
    const size_t num_bytes = count * sizeof(T) + 64;
    if (num_bytes > bytes_.size()) {
      bytes_.clear();
      bytes_.resize(num_bytes + num_bytes / 4 + 64);
    }
    const auto at = reinterpret_cast<uintptr_t>(bytes_.data());
    return reinterpret_cast<T*>((at + 63) / 64 * 64);
  }

 private:
  std::vector<uint8_t> bytes_;
};

struct PanelBuffers {
  Buffer quants, scales, minus_8, minus_128, scaled, floats;
};

struct Scratch {
  Buffer x, h, qkv, mixed, angles, slots, final;
  PanelBuffers attention, mixed_panel, ffn, act, logits;
  std::vector<Buffer> per_thread;
};
