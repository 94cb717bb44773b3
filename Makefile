# Two commands matter: `make demo` and `make test`. Everything lives in .venv beside this file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
DEMO_HOME ?= .demo

.PHONY: demo test quick lint format bench sanitize sanitize-short fuzz test-arm peers schema screenshots docs public-text clean

FUZZ_SECONDS ?= 600

# torch goes first and by name: asked for loosely, pip takes the build with gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/tramontane/native/*.cpp src/tramontane/native/*.h src/tramontane/native/*/*)
	@echo "Setting up $(VENV): about five minutes, once"
	$(PYTHON) -m venv $(VENV)
	@echo "1 of 2: PyTorch"
	@$(PIP) torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	@echo "2 of 2: tramontane, its native code compiled"
	@$(PIP) -e '.[learn]'
	touch $@

# By name, so that pip adds what an extra wants to the package that is there: by path it would
# compile the native code once more.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) 'tramontane[dev,clients]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP) 'tramontane[bench]'
	touch $@

$(VENV)/.installed-native: $(VENV)/.installed-dev
	$(PIP) cmake nanobind
	touch $@

demo: $(VENV)/.installed
	TRAMONTANE_HOME=$(DEMO_HOME) $(BIN)/tramontane pull smollm2
	TRAMONTANE_HOME=$(DEMO_HOME) $(BIN)/tramontane demo

# As many test files at once as there are cores, each on one: but four at most, since each holds
# models of its own.
TESTS_AT_ONCE ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev
	$(PYTEST)

quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h')

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h')

bench: $(VENV)/.installed-bench
	for script in bench/*.py; do $(BIN)/python $$script || exit 1; done

# The native code compiled to watch itself: memory and undefined behaviour, then races. Workers want
# -S as the script's own Python does. The short form: single operations and one family in company.
SANITIZED := -m pytest -q -p no:cacheprovider --dist loadfile tests/native
WORKERS := --tx '$(TESTS_AT_ONCE)*popen//python=$(CURDIR)/$(BIN)/python -S'
sanitize: $(VENV)/.installed-native
	scripts/sanitize.sh address $(SANITIZED) $(WORKERS)
	scripts/sanitize.sh thread $(SANITIZED) $(WORKERS)

sanitize-short: $(VENV)/.installed-native
	SANITIZE_BEST=1 scripts/sanitize.sh address $(SANITIZED) $(WORKERS) \
	  -m "not slow" -k "not families and not runtime and (not no_company or mixtral)"

# Any bytes as a GGUF file: an error in words or a model that runs.
fuzz: $(VENV)/.installed-native
	scripts/sanitize.sh address tests/checkpoint/fuzz_gguf.py --seconds $(FUZZ_SECONDS)

# The native tests on aarch64 under qemu-user; says which of Debian's packages it wants.
test-arm: $(VENV)/.installed-native
	scripts/test_arm.sh

# Other people's engines, built from their published sources, to measure ours beside.
# llama.cpp as llama-cpp-python's source package carries it; ten minutes on two cores.
PEERS := .peers
peers: $(PEERS)/llama.cpp/bin/llama-server

$(PEERS)/llama.cpp/bin/llama-server:
	$(PYTHON) -m venv $(PEERS)/venv
	$(PEERS)/venv/bin/python -m pip download -q --no-deps --no-binary llama-cpp-python -d $(PEERS) llama-cpp-python
	mkdir -p $(PEERS)/source
	tar -xzf $(PEERS)/llama_cpp_python-*.tar.gz -C $(PEERS)/source --strip-components 1
	cmake -S $(PEERS)/source/vendor/llama.cpp -B $(PEERS)/llama.cpp -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
	  -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
	cmake --build $(PEERS)/llama.cpp -j $(shell nproc) --target llama-bench llama-server

# What the OpenAPI document says, asked for ten minutes.
schema: $(VENV)/.installed-dev
	TRAMONTANE_SCHEMATHESIS_SECONDS=600 $(BIN)/python -m pytest tests/server/test_schema.py

# Every screen of the page at three widths, light and dark, to be looked at.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python scripts/screenshots.py

# Samples anew what .cache/public lacks, which takes long; SMALL and CODER name the two bases' files.
public-text: $(VENV)/.installed-dev
	$(BIN)/python scripts/build_public_text.py --small $(SMALL) --coder $(CODER) --cache .cache/public

docs: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf build $(VENV)
