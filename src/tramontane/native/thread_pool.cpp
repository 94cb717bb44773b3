#include "thread_pool.h"

#include <chrono>

// How long a thread stays awake after a job. The gaps between a forward pass's jobs are far
// shorter.
static constexpr auto kAwake = std::chrono::microseconds(100);
static constexpr uint64_t kClosed = 0xFFFFFFFF;

static inline void rest() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

ThreadPool::ThreadPool(int num_threads) {
  for (int thread = 1; thread < num_threads; ++thread)
    workers_.emplace_back([this, thread] { work(thread); });
}

ThreadPool::~ThreadPool() {
  stops_.store(true);
  bell_.fetch_add(1);
  bell_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::share(size_t num_items, const void* context, Call call) {
  const uint32_t job = bell_.load(std::memory_order_relaxed) + 1;
  // Closed before anything changes: a late thread that sees a change cannot claim any more.
  next_.store(uint64_t{job} << 32 | kClosed);
  num_items_.store(static_cast<uint32_t>(num_items), std::memory_order_release);
  context_.store(context, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  num_done_.store(0, std::memory_order_relaxed);
  next_.store(uint64_t{job} << 32);
  bell_.store(job);
  bell_.notify_all();
  claim(job, 0);
  for (int i = 0; num_done_.load(std::memory_order_acquire) != num_items; ++i) {
    if (i < 2000)
      rest();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::claim(uint32_t job, int thread) {
  uint64_t next = next_.load(std::memory_order_acquire);
  while (next >> 32 == job && (next & kClosed) < num_items_.load(std::memory_order_acquire)) {
    const void* context = context_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    if (next_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel)) {
      call(context, next & kClosed, thread);
      num_done_.fetch_add(1, std::memory_order_release);
      next = next_.load(std::memory_order_acquire);
    }
  }
}

void ThreadPool::work(int thread) {
  uint32_t job = 0;
  while (true) {
    auto end = std::chrono::steady_clock::now() + kAwake;
    for (uint32_t i = 1; bell_.load(std::memory_order_acquire) == job; ++i) {
      rest();
      if (i % 64 == 0 && std::chrono::steady_clock::now() > end) bell_.wait(job);
    }
    job = bell_.load(std::memory_order_acquire);
    if (stops_.load()) return;
    claim(job, thread);
  }
}
