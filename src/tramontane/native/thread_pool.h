#pragma once
// A few threads that share a job's items and then wait: awake for a moment, since the next job of a
// forward pass comes at once, asleep after it.
//
// Items are claimed one by one, so all threads end together whatever the items cost; the caller
// works too and waits for claimed items only, never for a thread that the machine has put aside.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(item, thread) for every item below num_items, thread below size(); returns when all
  // are done. `work` must not throw.
  template <class Work>
  void run(size_t num_items, const Work& work) {
    if (workers_.empty() || num_items < 2) {
      for (size_t item = 0; item < num_items; ++item) work(item, 0);
      return;
    }
    share(num_items, &work, [](const void* context, size_t item, int thread) {
      (*static_cast<const Work*>(context))(item, thread);
    });
  }

 private:
  using Call = void (*)(const void*, size_t, int);

  void share(size_t num_items, const void* context, Call call);
  void work(int thread);
  void claim(uint32_t job, int thread);

  std::vector<std::thread> workers_;
  // The job's number above, its next item below; kClosed while a job is being put in place.
  std::atomic<uint64_t> next_{0xFFFFFFFF};
  std::atomic<uint32_t> bell_{0};
  std::atomic<uint32_t> num_items_{0};
  std::atomic<const void*> context_{nullptr};
  std::atomic<Call> call_{nullptr};
  alignas(64) std::atomic<uint32_t> num_done_{0};
  std::atomic<bool> stops_{false};
};
