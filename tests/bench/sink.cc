// sink: an HTTP/1.1 client that throws bodies away as cheaply as it can, so that a bench on a small
// machine measures the server. Over TCP the kernel drops the bytes (MSG_TRUNC); over TLS they are
// decrypted and dropped.
//
//   sink [--connections N] [--repeat N] [--cert PEM --key PEM] [--header "Name: value"]...
//        ADDRESS PORT PATH
//
// Prints {"bytes": .., "seconds": .., "status": ..}; fails unless every answer is complete.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "connection.h"

namespace {

struct Options {
  Server server;
  int connections = 1;
  int repeat = 1;
  std::string headers;
  std::string path;
};

constexpr std::size_t kBufferBytes = 1 << 20;

// One request and its answer. Returns the length of the body.
long Get(Connection& connection, const Options& options, std::vector<char>& buffer, int& status) {
  connection.Send("GET " + options.path + " HTTP/1.1\r\nHost: bench\r\n" + options.headers +
                  "\r\n");
  std::string head;
  std::size_t end = std::string::npos;
  while ((end = head.find("\r\n\r\n")) == std::string::npos) {
    const long got = connection.Read(buffer.data(), 4096);
    if (got <= 0) Fail("closed before the headers");
    head.append(buffer.data(), static_cast<std::size_t>(got));
  }
  status = std::atoi(head.c_str() + 9);
  const char* length = strcasestr(head.c_str(), "\r\ncontent-length:");
  if (status / 100 != 2 || length == nullptr) Fail("answered: " + head.substr(0, end));
  const long total = std::atol(length + 17);
  long left = total - static_cast<long>(head.size() - end - 4);
  while (left > 0) {
    const auto ask = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(left));
    const long got = connection.Drop(buffer.data(), ask);
    if (got <= 0) Fail("closed in the middle of a body");
    left -= got;
  }
  return total;
}

Options Parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> plain;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      plain.push_back(word);
      continue;
    }
    if (i + 1 == argc) Fail(word + " needs a value");
    const std::string value = argv[++i];
    if (word == "--connections") {
      options.connections = std::atoi(value.c_str());
    } else if (word == "--repeat") {
      options.repeat = std::atoi(value.c_str());
    } else if (word == "--cert") {
      options.server.cert = value;
    } else if (word == "--key") {
      options.server.key = value;
    } else if (word == "--header") {
      options.headers += value + "\r\n";
    } else {
      Fail("unknown option " + word);
    }
  }
  if (plain.size() != 3) Fail("usage: sink [options] ADDRESS PORT PATH");
  options.server.address = plain[0];
  options.server.port = std::atoi(plain[1].c_str());
  options.path = plain[2];
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  std::atomic<long> bytes{0};
  std::atomic<int> status{0};
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(options.connections));
  for (int i = 0; i < options.connections; ++i) {
    threads.emplace_back([&] {
      Connection connection(options.server);
      std::vector<char> buffer(kBufferBytes);
      int last = 0;
      for (int turn = 0; turn < options.repeat; ++turn) {
        bytes += Get(connection, options, buffer, last);
      }
      status = last;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  std::printf("{\"bytes\": %ld, \"seconds\": %.6f, \"status\": %d}\n", bytes.load(), took.count(),
              status.load());
  return 0;
}
