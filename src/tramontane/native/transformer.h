#pragma once
// TOKENS → LOGITS: composes the operations over a batch of spans.
//
// One law holds throughout: a token's numbers never depend on which rows stand beside it, on how
// its prompt was cut or on the number of threads. Every sum has one order of its own.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention/paged_attention.h"
#include "batch.h"
#include "kernels.h"
#include "model.h"
#include "scratch.h"
#include "thread_pool.h"

// Per token and notes expert, summed over the layers; asked for with pointers that aren't null.
// A gate is the expert's own, as if it stood alone: whether others speak louder doesn't close it.
struct Voices {
  float* shares_TE = nullptr;
  float* gates_TE = nullptr;
};

// What tokens chose, layer by layer, and what they are made to choose: a near tie sends a token
// elsewhere in another implementation, so the two are compared with the choices of one. T tokens of
// the batch, K base experts chosen by each; null where nothing is asked for.
struct Decisions {
  uint32_t* routes_LTK = nullptr;
  const uint32_t* wanted_routes_LTK = nullptr;
  // The notes experts whose gates are open, by their places in the order of hashes; -1: none.
  int32_t* open_LT2 = nullptr;
  const int32_t* wanted_open_LT2 = nullptr;
};

class Transformer {
 public:
  Transformer(const Sizes& sizes, std::vector<float> turns_c, const std::string& kv_format,
              const std::string& variant, int num_threads);

  const char* variant() const { return kernels_.variant; }
  int num_threads() const { return pool_.size(); }
  const Sizes& sizes() const { return sizes_; }
  ThreadPool& pool() { return pool_; }

  // Where a tensor goes; std::invalid_argument for a name that this model doesn't have.
  Matrix& matrix(const std::string& name, size_t layer, size_t expert);
  std::vector<float>& vector(const std::string& name, size_t layer);
  // Names what is missing, or has the wrong shape; empty when the model is whole.
  std::string fault() const;

  PagedAttention& attention() { return attention_; }

  void add_expert(const std::string& hash, NotesExpert expert) {
    experts_[hash] = std::make_unique<NotesExpert>(std::move(expert));
  }
  void remove_expert(const std::string& hash) { experts_.erase(hash); }
  size_t num_experts() const { return experts_.size(); }
  // Whether notes experts go to blocks of int8, as the base's own weights are in blocks.
  bool quantises_experts() const { return is_in_blocks(layers_[0].networks[0].gate.format); }

  // Writes the logits of every span's last num_logits tokens, and voices if asked. Calls may_go_on
  // before each layer; what it throws ends the pass, whose tokens are then to be run anew.
  void forward(const Batch& batch, float* logits_LV, const Voices& voices,
               const Decisions& decisions, const std::function<void()>& may_go_on);

 private:
  struct Pass;

  Sizes sizes_;
  std::vector<float> turns_c_;
  const Kernels& kernels_;
  ThreadPool pool_;
  PagedAttention attention_;

  Matrix embedding_, output_;
  std::vector<float> final_norm_;
  std::vector<Layer> layers_;
  // In the order of hashes, whatever the order they came in.
  std::map<std::string, std::unique_ptr<NotesExpert>> experts_;

  Scratch scratch_;
};
