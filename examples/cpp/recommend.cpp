// Asks a fused retrieval model for one user's items: libtorch alone, without Python.
//
//     recommend fused.pt 10 user_id=196 age#=33 age.given?=1 history[]=50,181 history.given?=1
//
// Every input of the file has to be there (docs/formats.md): NAME=TEXT, NAME[]=TEXT,TEXT, NAME#=NUMBER and
// NAME?=0 or 1; `exclude` and `exclude_history` are none by default.
#include <torch/script.h>

#include <cstdio>
#include <sstream>
#include <string>

using Texts = c10::List<std::string>;

int main(int count, char** arguments) try {
  if (count < 4) throw std::invalid_argument("expected FILE K NAME=VALUE ...");
  torch::jit::Module model = torch::jit::load(arguments[1]);
  c10::Dict<std::string, Texts> tokens;
  c10::Dict<std::string, c10::List<Texts>> lists;
  c10::Dict<std::string, at::Tensor> numbers;
  lists.insert("exclude", c10::List<Texts>({Texts()}));
  numbers.insert("exclude_history", torch::tensor({false}));
  for (int place = 3; place < count; ++place) {
    std::string given = arguments[place];
    size_t equals = given.find('=');
    if (equals == std::string::npos || equals == 0) throw std::invalid_argument("no NAME=VALUE: " + given);
    std::string name = given.substr(0, equals), value = given.substr(equals + 1);
    if (name.back() == ']') {
      Texts row;
      std::stringstream parts(value);
      for (std::string part; std::getline(parts, part, ',');) row.push_back(part);
      lists.insert_or_assign(name.substr(0, name.size() - 2), c10::List<Texts>({row}));
    } else if (name.back() == '#') {
      numbers.insert_or_assign(name.substr(0, name.size() - 1), torch::tensor({std::stod(value)}, at::kDouble));
    } else if (name.back() == '?') {
      numbers.insert_or_assign(name.substr(0, name.size() - 1), torch::tensor({value == "1"}));
    } else {
      tokens.insert_or_assign(name, Texts({value}));
    }
  }
  torch::InferenceMode guard;
  auto answer = model.forward({tokens, lists, numbers, std::stol(arguments[2])}).toTuple();
  auto items = answer->elements()[0].toListRef()[0].toListRef();
  at::Tensor scores = answer->elements()[1].toTensorVector()[0];
  for (size_t place = 0; place < items.size(); ++place)
    std::printf("%s\t%.9g\n", items[place].toStringRef().c_str(), scores[place].item<float>());
} catch (const c10::Error& error) {
  std::fprintf(stderr, "recommend: %s\n", error.what_without_backtrace());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "recommend: %s\n", error.what());
  return 2;
}
