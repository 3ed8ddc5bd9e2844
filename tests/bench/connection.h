// Connection: what the benches' clients have in common, TCP or TLS 1.3 to a server, blocking.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

// Says why and ends the program: a bench has no use for half an answer.
[[noreturn]] inline void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

struct Server {
  std::string address;  // IPv4
  int port = 0;
  std::string cert;  // of ours, in PEM; "" for plain TCP
  std::string key;
  std::string
      seed{};  // in place of the two: 32 bytes of an Ed25519 key; shown as peers show theirs
};

class Connection {
 public:
  explicit Connection(const Server& server) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(server.port));
    inet_pton(AF_INET, server.address.c_str(), &address.sin_addr);
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
    if (!server.cert.empty() || !server.seed.empty()) StartTls(server);
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

  // Drops up to `size` bytes; over TCP inside the kernel.
  long Drop(char* buffer, std::size_t size) {
    return ssl_ != nullptr ? SSL_read(ssl_, buffer, static_cast<int>(size))
                           : recv(fd_, buffer, size, MSG_TRUNC);
  }

 private:
  void StartTls(const Server& server) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context_, "TLS_AES_128_GCM_SHA256");  // for all rivals alike
    if (!server.seed.empty()) {
      UseKey(server.seed);
    } else if (SSL_CTX_use_certificate_file(context_, server.cert.c_str(), SSL_FILETYPE_PEM) != 1 ||
               SSL_CTX_use_PrivateKey_file(context_, server.key.c_str(), SSL_FILETYPE_PEM) != 1) {
      Fail("certificate");
    }
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    if (SSL_connect(ssl_) != 1) Fail("TLS handshake");
  }

  void UseKey(const std::string& seed) {
    EVP_PKEY* key = EVP_PKEY_new_raw_private_key(
        EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(seed.data()),
        seed.size());
    X509* certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600 * 24);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_set_pubkey(certificate, key);
    if (X509_sign(certificate, key, nullptr) == 0 ||
        SSL_CTX_use_certificate(context_, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context_, key) != 1) {
      Fail("certificate of a key");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  int fd_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};
