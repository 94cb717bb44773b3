#pragma once
// A file's bytes in memory, read-only and shared with every process that maps it.
#include <cstddef>
#include <cstdint>

class MappedFile {
 public:
  // Maps the whole file behind an open descriptor, which may be closed afterwards. Throws
  // std::system_error. The file must not shrink while it is mapped.
  explicit MappedFile(int descriptor);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;

  const uint8_t* bytes() const { return bytes_; }
  size_t num_bytes() const { return num_bytes_; }

 private:
  const uint8_t* bytes_ = nullptr;
  size_t num_bytes_ = 0;
};
