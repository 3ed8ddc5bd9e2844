// sink: an HTTP/1.1 client that throws bodies away as cheaply as it can, so that a bench on a small
// machine measures the server. Over TCP the kernel drops the bytes (MSG_TRUNC); over TLS they are
// decrypted and dropped.
//
//   sink [--connections N] [--repeat N] [--cert PEM --key PEM] [--header "Name: value"]...
//        ADDRESS PORT PATH
//
// Prints {"bytes": .., "seconds": .., "status": ..}; fails unless every answer is complete.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Options {
  int connections = 1;
  int repeat = 1;
  std::string cert;
  std::string key;
  std::string headers;
  std::string address;
  int port = 0;
  std::string path;
};

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "sink: %s\n", what.c_str());
  std::exit(1);
}

class Connection {
 public:
  explicit Connection(const Options& options) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(options.port));
    inet_pton(AF_INET, options.address.c_str(), &address.sin_addr);
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
    if (!options.cert.empty()) StartTls(options);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    close(fd_);
  }

  void Send(const std::string& text) {
    const auto size = static_cast<int>(text.size());
    const auto sent = ssl_ != nullptr ? SSL_write(ssl_, text.data(), size)
                                      : send(fd_, text.data(), text.size(), 0);
    if (sent != size) Fail("send");
  }

  long Read(char* buffer, std::size_t size) {
    return ssl_ != nullptr ? SSL_read(ssl_, buffer, static_cast<int>(size))
                           : recv(fd_, buffer, size, 0);
  }

  // Drops up to `size` bytes.
  long Drop(char* buffer, std::size_t size) {
    return ssl_ != nullptr ? SSL_read(ssl_, buffer, static_cast<int>(size))
                           : recv(fd_, buffer, size, MSG_TRUNC);
  }

 private:
  void StartTls(const Options& options) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context_, "TLS_AES_128_GCM_SHA256");
    if (SSL_CTX_use_certificate_file(context_, options.cert.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_, options.key.c_str(), SSL_FILETYPE_PEM) != 1) {
      Fail("certificate");
    }
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    if (SSL_connect(ssl_) != 1) Fail("TLS handshake");
  }

  int fd_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
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
      options.cert = value;
    } else if (word == "--key") {
      options.key = value;
    } else if (word == "--header") {
      options.headers += value + "\r\n";
    } else {
      Fail("unknown option " + word);
    }
  }
  if (plain.size() != 3) Fail("usage: sink [options] ADDRESS PORT PATH");
  options.address = plain[0];
  options.port = std::atoi(plain[1].c_str());
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
      Connection connection(options);
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
