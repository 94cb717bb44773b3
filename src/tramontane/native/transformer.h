#pragma once
// TOKENS → LOGITS: composes the operations over a batch of spans.
//
// One law holds throughout: a token's numbers never depend on which rows stand beside it, on how
// its prompt was cut or on the number of threads. Every sum has one order of its own.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "model.h"
#include "scratch.h"
#include "thread_pool.h"

// Spans of one forward pass, laid flat.
struct Batch {
  std::vector<int32_t> token_ids;
  struct Span {
    size_t begin, count;       // its tokens in the batch
    int64_t start;             // position of its first token
    const int32_t* pages;      // of positions 0 to its last
    const uint8_t* allowed_E;  // which notes experts it has in place, in the order of hashes
    size_t num_logits;         // how many of its last tokens need logits
  };
  std::vector<Span> spans;
};

// Per token and notes expert, summed over the layers; asked for with pointers that aren't null.
struct Voices {
  float* shares_TE = nullptr;
  float* gates_TE = nullptr;
};

class Transformer {
 public:
  Transformer(const Sizes& sizes, std::vector<float> turns_c, const std::string& variant,
              int num_threads);

  const char* variant() const { return kernels_.variant; }
  int num_threads() const { return pool_.size(); }
  const Sizes& sizes() const { return sizes_; }
  ThreadPool& pool() { return pool_; }

  // Where a tensor goes; std::invalid_argument for a name that this model doesn't have.
  Matrix& matrix(const std::string& name, size_t layer, size_t expert);
  std::vector<float>& vector(const std::string& name, size_t layer);
  // Names what is missing, or has the wrong shape; empty when the model is whole.
  std::string fault() const;

  void allocate(size_t num_pages);
  size_t num_pages() const { return num_pages_; }

  void add_expert(const std::string& hash, NotesExpert expert) {
    experts_[hash] = std::make_unique<NotesExpert>(std::move(expert));
  }
  void remove_expert(const std::string& hash) { experts_.erase(hash); }
  size_t num_experts() const { return experts_.size(); }
  // Whether notes experts go to blocks of int8, as the base's own weights are in blocks.
  bool quantises_experts() const { return is_in_blocks(layers_[0].networks[0].gate.format); }

  // Writes the logits of every span's last num_logits tokens, and voices if asked.
  void forward(const Batch& batch, float* logits_LV, const Voices& voices);

 private:
  struct Pass;

  Sizes sizes_;
  std::vector<float> turns_c_;
  const Kernels& kernels_;
  ThreadPool pool_;
  PageLayout pages_layout_;

  Matrix embedding_, output_;
  std::vector<float> final_norm_;
  std::vector<Layer> layers_;
  // In the order of hashes, whatever the order they came in.
  std::map<std::string, std::unique_ptr<NotesExpert>> experts_;

  size_t num_pages_ = 0;
  std::unique_ptr<uint16_t, void (*)(uint16_t*)> kv_{nullptr, [](uint16_t* p) { free(p); }};
  Scratch scratch_;
};
