#include "mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

MappedFile::MappedFile(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0)
    throw std::system_error(errno, std::generic_category(), "a file to be mapped");
  num_bytes_ = static_cast<size_t>(status.st_size);
  void* mapped = mmap(nullptr, num_bytes_, PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED)
    throw std::system_error(errno, std::generic_category(), "a file to be mapped");
  bytes_ = static_cast<const uint8_t*>(mapped);
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(bytes_), num_bytes_); }
