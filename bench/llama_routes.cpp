// Which two experts llama.cpp's router chooses for each token in each layer of a Mixtral.
//
//   llama_routes MODEL.gguf TOKENS.i32 ROUTES.i32
//
// TOKENS holds int32 token ids; ROUTES is filled with int32 in the order the layers run: layer,
// number of tokens, then per token the chosen experts, best first. llama.cpp names the tensor with
// the choice "ffn_moe_topk-LAYER" and hands it to a callback as it is computed.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

static bool on_tensor(ggml_tensor* tensor, bool asks, void* routes) {
  const char* prefix = "ffn_moe_topk-";
  if (std::strncmp(tensor->name, prefix, std::strlen(prefix)) != 0) return false;
  if (asks) return true;
  auto& out = *static_cast<std::vector<int32_t>*>(routes);
  out.push_back(std::atoi(tensor->name + std::strlen(prefix)));
  out.push_back(static_cast<int32_t>(tensor->ne[1]));
  // The choice is a view of all experts sorted: rows lie apart.
  for (int64_t token = 0; token < tensor->ne[1]; ++token)
    for (int64_t rank = 0; rank < tensor->ne[0]; ++rank) {
      const char* at = static_cast<const char*>(tensor->data) + token * tensor->nb[1];
      out.push_back(*reinterpret_cast<const int32_t*>(at + rank * tensor->nb[0]));
    }
  return true;
}

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: llama_routes MODEL.gguf TOKENS.i32 ROUTES.i32\n");
    return 2;
  }
  std::ifstream file(arguments[2], std::ios::binary);
  std::vector<char> raw{std::istreambuf_iterator<char>(file), {}};
  std::vector<llama_token> tokens(raw.size() / sizeof(llama_token));
  std::memcpy(tokens.data(), raw.data(), tokens.size() * sizeof(llama_token));
  std::vector<int32_t> routes;

  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(arguments[1], llama_model_default_params());
  if (!model) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(tokens.size());
  params.n_threads = params.n_threads_batch = 2;
  params.cb_eval = on_tensor;
  params.cb_eval_user_data = &routes;
  llama_context* context = llama_init_from_model(model, params);
  if (!context) return 1;
  // Of the last layer only tokens whose logits are wanted are computed, so all are.
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.token[i] = tokens[i];
    batch.pos[i] = static_cast<llama_pos>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = true;
  }
  batch.n_tokens = static_cast<int32_t>(tokens.size());
  if (llama_decode(context, batch) != 0) return 1;
  std::ofstream out(arguments[3], std::ios::binary);
  out.write(reinterpret_cast<const char*>(routes.data()), routes.size() * sizeof(int32_t));
  llama_batch_free(batch);
  llama_free(context);
  llama_model_free(model);
  return out.good() ? 0 : 1;
}
