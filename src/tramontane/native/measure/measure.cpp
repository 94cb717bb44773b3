#include "measure/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels.h"
#include "thread_pool.h"

namespace {

using Clock = std::chrono::steady_clock;

// Runs `work` until the time is over, three times at least; returns the shortest run in seconds.
template <class Work>
double shortest(double seconds, const Work& work) {
  const auto begin = Clock::now();
  double best = 1e30;
  for (int i = 0; i < 3 || std::chrono::duration<double>(Clock::now() - begin).count() < seconds;
       ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// Keeps the compiler from leaving out what nobody looks at.
std::atomic<uint64_t> looked_at{0};

}  // namespace

double read_bandwidth(const Kernels& kernels, int num_threads, size_t num_bytes, double seconds) {
  // Long enough that starting anew costs nothing, short enough that all threads end together.
  constexpr size_t kItemBytes = 4 << 20;
  const size_t num_items = std::max<size_t>(num_bytes / kItemBytes, 1);
  struct Free {
    void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t(1 << 21)); }
  };
  const size_t reserved = num_items * kItemBytes;
  std::unique_ptr<uint8_t, Free> buffer(
      static_cast<uint8_t*>(::operator new(reserved, std::align_val_t(1 << 21))));
#if defined(__linux__)
  madvise(buffer.get(), reserved, MADV_HUGEPAGE);
#endif
  ThreadPool pool(num_threads);
  // Written first: untouched pages are all one page of zeros.
  pool.run(num_items,
           [&](size_t item, int) { memset(buffer.get() + item * kItemBytes, 1, kItemBytes); });
  const double best = shortest(seconds, [&] {
    pool.run(num_items, [&](size_t item, int) {
      looked_at += kernels.read_bytes(buffer.get() + item * kItemBytes, kItemBytes);
    });
  });
  return static_cast<double>(reserved) / best;
}

double int8_rate(const Kernels& kernels, int num_threads, double seconds) {
  constexpr size_t kRounds = 1 << 16;
  constexpr size_t kItemsPerThread = 16;
  int8_t bytes[256];
  for (int i = 0; i < 256; ++i) bytes[i] = static_cast<int8_t>(i * 37);
  ThreadPool pool(num_threads);
  const size_t num_items = kItemsPerThread * num_threads;
  const double best = shortest(seconds, [&] {
    pool.run(num_items, [&](size_t, int) { looked_at += kernels.multiply_bytes(bytes, kRounds); });
  });
  return kernels.operations_per_round() * kRounds * static_cast<double>(num_items) / best;
}
