// ScriptServer: a tiny HTTP/1.1 server for tests that answers whatever bytes it is told to.
//
// One thread a connection, blocking sockets, loopback only. With a TLS context it speaks TLS.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/check.h"

namespace shoal::test {

struct SeenRequest {
  std::string method;
  std::string target;
  std::string head;  // all of it, with the request line
  std::string body;
  int connection = 0;  // counted from 0 in the order of their arrival

  // The value of a header, "" when absent. Names are compared as curl writes them.
  [[nodiscard]] std::string Header(std::string_view name) const {
    const auto at = head.find("\r\n" + std::string(name) + ": ");
    if (at == std::string::npos) return {};
    const auto begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

struct ScriptReply {
  enum class End { kKeep, kClose, kReset, kHold };  // kHold: silent until the client goes
  std::string bytes;
  End end = End::kKeep;
  std::size_t write_bytes = 1 << 20;  // of one write: the most in a TLS record
};

// A whole answer with Content-Length.
inline std::string Answer(int status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

class ScriptServer {
 public:
  using Script = std::function<ScriptReply(const SeenRequest&)>;

  // before_tls: called for each connection before its handshake, with its number.
  explicit ScriptServer(Script script, std::shared_ptr<SSL_CTX> tls = nullptr,
                        std::function<void(int)> before_tls = nullptr)
      : script_(std::move(script)), tls_(std::move(tls)), before_tls_(std::move(before_tls)) {
    listen_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SHOAL_CHECK(bind(listen_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    SHOAL_CHECK(listen(listen_, 64) == 0);
    socklen_t length = sizeof address;
    SHOAL_CHECK(getsockname(listen_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }

  ~ScriptServer() {
    shutdown(listen_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (auto& thread : threads_) thread.join();
    close(listen_);
  }
  ScriptServer(const ScriptServer&) = delete;
  ScriptServer& operator=(const ScriptServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string Url(const std::string& path) const {
    return (tls_ ? "https://" : "http://") + host() + path;
  }
  [[nodiscard]] std::vector<SeenRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  // How many requests had this target's beginning.
  [[nodiscard]] int Count(std::string_view target) const {
    int count = 0;
    for (const auto& request : seen()) count += request.target.starts_with(target) ? 1 : 0;
    return count;
  }

 private:
  void Accept() {
    for (int number = 0;; ++number) {
      const int fd = accept4(listen_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const std::lock_guard lock(mutex_);
      open_.insert(fd);
      threads_.emplace_back([this, fd, number] { Serve(fd, number); });
    }
  }

  void Serve(int fd, int number) {
    // OpenSSL writes with write(2): a client that left must not end the test.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    SSL* ssl = nullptr;
    if (tls_) {
      if (before_tls_) before_tls_(number);
      ssl = SSL_new(tls_.get());
      SSL_set_fd(ssl, fd);
    }
    if (ssl == nullptr || SSL_accept(ssl) == 1) Talk(fd, ssl, number);
    SSL_free(ssl);
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
    close(fd);
  }

  static long Read(int fd, SSL* ssl, char* out, int size) {
    return ssl != nullptr ? SSL_read(ssl, out, size) : recv(fd, out, size, 0);
  }

  static bool Write(int fd, SSL* ssl, std::string_view text, std::size_t most) {
    while (!text.empty()) {
      const std::size_t size = std::min(text.size(), most);
      const long sent = ssl != nullptr ? SSL_write(ssl, text.data(), static_cast<int>(size))
                                       : send(fd, text.data(), size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  void Talk(int fd, SSL* ssl, int number) {
    std::string in;
    std::vector<char> buffer(64 << 10);
    const auto more = [&] {
      const long got = Read(fd, ssl, buffer.data(), static_cast<int>(buffer.size()));
      if (got > 0) in.append(buffer.data(), static_cast<std::size_t>(got));
      return got > 0;
    };
    for (;;) {
      while (in.find("\r\n\r\n") == std::string::npos) {
        if (!more()) return;
      }
      SeenRequest request;
      request.connection = number;
      const auto end = in.find("\r\n\r\n") + 4;
      request.head = in.substr(0, end);
      in.erase(0, end);
      const auto space = request.head.find(' ');
      request.method = request.head.substr(0, space);
      request.target =
          request.head.substr(space + 1, request.head.find(' ', space + 1) - space - 1);
      const auto length = request.Header("Content-Length");
      const std::size_t body = length.empty() ? 0 : std::stoul(length);
      while (in.size() < body) {
        if (!more()) return;
      }
      request.body = in.substr(0, body);
      in.erase(0, body);
      {
        const std::lock_guard lock(mutex_);
        seen_.push_back(request);
      }
      const ScriptReply reply = script_(request);
      if (!Write(fd, ssl, reply.bytes, reply.write_bytes)) return;
      if (reply.end == ScriptReply::End::kClose) return;
      if (reply.end == ScriptReply::End::kReset) {
        const linger hard{.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        return;
      }
      if (reply.end == ScriptReply::End::kHold) {
        while (more()) {
        }
        return;
      }
    }
  }

  Script script_;
  std::shared_ptr<SSL_CTX> tls_;
  std::function<void(int)> before_tls_;
  int listen_ = -1;
  std::uint16_t port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::thread> threads_;  // grown by the acceptor only, joined after it
  std::set<int> open_;
  std::vector<SeenRequest> seen_;
};

// A self-signed certificate for 127.0.0.1 and localhost: its own authority.
struct TestCertificate {
  std::shared_ptr<SSL_CTX> context;
  std::string pem;  // what a client needs to trust it
};

inline TestCertificate MakeTestCertificate() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("shoal test"), -1, -1, 0);
  X509_set_issuer_name(cert, name);
  X509V3_CTX v3;
  X509V3_set_ctx(&v3, cert, cert, nullptr, nullptr, 0);
  for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost"},
                                   std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &v3, nid, value);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(cert, key, EVP_sha256());
  TestCertificate out;
  out.context = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_use_certificate(out.context.get(), cert);
  SSL_CTX_use_PrivateKey(out.context.get(), key);
  BIO* memory = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(memory, cert);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  out.pem.assign(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  X509_free(cert);
  EVP_PKEY_free(key);
  return out;
}

}  // namespace shoal::test
