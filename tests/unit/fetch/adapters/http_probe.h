// What the tests of the byte plane share: a client that sees every byte, a gate, a scratch folder.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "fetch/store/file.h"
#include "fetch/transport/http_server.h"

namespace shoal::fetch {

inline constexpr auto kTestPatience = std::chrono::seconds(20);

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "shoal-test-XXXXXX").string();
    SHOAL_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string Write(const std::string& name, std::string_view text) const {
    const std::string file = path_ + "/" + name;
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

 private:
  std::string path_;
};

// Bytes that differ from place to place.
inline std::string Pattern(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t x = 2463534242U;
  for (char& c : text) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    c = static_cast<char>(x);
  }
  return text;
}

struct ProbeReply {
  std::string head;  // with the empty line
  std::string body;
  [[nodiscard]] int status() const { return head.size() < 12 ? 0 : std::atoi(head.c_str() + 9); }
};

// A blocking client; every wait ends with a failed test after kTestPatience. TLS when `ssl` is
// given.
class Probe {
 public:
  explicit Probe(const index::Endpoint& at, int receive_buffer = 0)
      : fd_(socket(at.host == "::1" ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    const timeval patience{std::chrono::seconds(kTestPatience).count(), 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int rc = -1;
    if (at.host == "::1") {
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_port = htons(at.port);
      to.sin6_addr = in6addr_loopback;
      rc = connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(at.port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      rc = connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    }
    EXPECT_EQ(rc, 0) << "connect: errno " << errno;
  }
  ~Probe() { Close(); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }

  // Whether the handshake succeeds on this side (TLS 1.3 servers refuse later: see ReadSome).
  bool StartTls(SSL_CTX* context) {
    ssl_.reset(SSL_new(context), SSL_free);
    SSL_set_fd(ssl_.get(), fd_);
    return SSL_connect(ssl_.get()) == 1;
  }

  void Send(std::string_view text) const {
    const auto n = ssl_ ? SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()))
                        : send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    EXPECT_EQ(n, static_cast<ssize_t>(text.size()));
  }
  void Get(const std::string& target) const {
    Send("GET " + target + " HTTP/1.1\r\nHost: test\r\n\r\n");
  }

  // What arrives next: "" at the end. A reset is a failed test.
  std::string ReadSome() const {
    std::string text(64 << 10, '\0');
    errno = 0;
    const auto n = ssl_ ? SSL_read(ssl_.get(), text.data(), static_cast<int>(text.size()))
                        : recv(fd_, text.data(), text.size(), 0);
    if (!ssl_) {
      EXPECT_GE(n, 0) << "recv: errno " << errno;
    }
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  std::string ReadToEnd() {
    std::string text = std::exchange(pending_, {});
    for (std::string more = ReadSome(); !more.empty(); more = ReadSome()) text += more;
    return text;
  }
  std::string ReadExactly(std::size_t size) {
    while (pending_.size() < size) {
      const std::string more = ReadSome();
      if (more.empty()) break;
      pending_ += more;
    }
    std::string text = pending_.substr(0, size);
    pending_.erase(0, text.size());
    return text;
  }
  std::string ReadHead() {
    std::size_t end = 0;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
      const std::string more = ReadSome();
      if (more.empty()) return std::exchange(pending_, {});
      pending_ += more;
    }
    return ReadExactly(end + 4);
  }
  ProbeReply ReadReply(bool head_only = false) {
    ProbeReply reply;
    reply.head = ReadHead();
    const auto at = reply.head.find("Content-Length: ");
    if (!head_only && at != std::string::npos) {
      reply.body = ReadExactly(std::strtoull(reply.head.c_str() + at + 16, nullptr, 10));
    }
    return reply;
  }

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  std::shared_ptr<SSL> ssl_;
  std::string pending_;
};

// A gate that a test opens by hand.
class FakeGate final : public ReadGate {
 public:
  Bytes ReadableEnd(Bytes offset) override {
    const std::lock_guard lock(mutex_);
    return std::max(offset, end_);
  }
  std::optional<Error> Failure() override {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  void Await(int reader, Bytes offset, std::function<void()> wake) override {
    std::unique_lock lock(mutex_);
    waiting_ = true;
    changed_.notify_all();
    if (end_ > offset || failure_) {
      lock.unlock();
      wake();
      return;
    }
    wakes_[reader] = std::move(wake);
  }
  void Leave(int reader) override {
    const std::lock_guard lock(mutex_);
    wakes_.erase(reader);
    ++left_;
    changed_.notify_all();
  }
  int Join() override {
    const std::lock_guard lock(mutex_);
    return joined_++;
  }

  void Open(Bytes end) {
    Change([&] { end_ = end; });
  }
  void Fail(Error error) {
    Change([&] { failure_ = std::move(error); });
  }
  bool WaitForReader() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience,
                             [this] { return std::exchange(waiting_, false); });
  }
  bool WaitUntilLeft() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience, [this] { return left_ == joined_; });
  }

 private:
  void Change(const std::function<void()>& change) {
    std::map<int, std::function<void()>> wakes;
    {
      const std::lock_guard lock(mutex_);
      change();
      wakes.swap(wakes_);
    }
    for (const auto& [reader, wake] : wakes) wake();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Bytes end_;
  std::optional<Error> failure_;
  std::map<int, std::function<void()>> wakes_;
  bool waiting_ = false;
  int joined_ = 0;
  int left_ = 0;
};

// Hands values from a data thread to the test.
template <class T>
class Mail {
 public:
  void Put(T value) {
    const std::lock_guard lock(mutex_);
    value_ = std::move(value);
    came_.notify_all();
  }
  std::optional<T> Take() {
    std::unique_lock lock(mutex_);
    came_.wait_for(lock, kTestPatience, [this] { return value_.has_value(); });
    return std::exchange(value_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::optional<T> value_;
};

inline HttpReply TextReply(std::string text, int status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.headers = {{"Content-Type", "text/plain"}};
  reply.body.push_back({std::move(text), nullptr, {}, {}});
  return reply;
}

inline HttpReply FileReply(SharedFile file, std::int64_t begin, std::int64_t end) {
  HttpReply reply;
  reply.body.push_back({"", std::move(file), Bytes(begin), Bytes(end)});
  return reply;
}

}  // namespace shoal::fetch
