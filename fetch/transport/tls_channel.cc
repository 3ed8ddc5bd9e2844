#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "fetch/transport/channel.h"
#include "fetch/transport/tls.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kRecordMax = 16 << 10;  // RFC 8446, section 5.1
constexpr std::size_t kSealMax = 64;          // header, type, tag, rounded up

// Whether the kernel seals records itself. An unconnected socket is refused with ENOTCONN by a
// kernel that knows the protocol "tls", and with ENOENT by one that does not.
bool KernelHasTls() {
  static const bool has = [] {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const int rc = setsockopt(fd, SOL_TCP, TCP_ULP, "tls", sizeof "tls");
    const bool known = rc == 0 || errno == ENOTCONN;
    close(fd);
    return known;
  }();
  return has;
}

// Sealed bytes that the socket has not taken yet. OpenSSL alone would call write(2) for each record
// of 16 KiB; gathered, one send takes several.
class Outbox {
 public:
  void Append(const char* data, std::size_t size) {
    bytes_.insert(bytes_.end(), data, data + size);
  }
  void Reserve(std::size_t size) { bytes_.reserve(size); }
  [[nodiscard]] bool empty() const { return sent_ == bytes_.size(); }

  Io Send(int fd) {
    while (!empty()) {
      const ssize_t n = send(fd, bytes_.data() + sent_, bytes_.size() - sent_, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        return {errno == EAGAIN || errno == EWOULDBLOCK ? Io::Want::kWrite : Io::Want::kFailed, 0};
      }
      sent_ += static_cast<std::size_t>(n);
    }
    bytes_.clear();
    sent_ = 0;
    return {};
  }

  void Release() {
    if (empty()) *this = Outbox();
  }

 private:
  std::vector<char> bytes_;
  std::size_t sent_ = 0;
};

int OutboxWrite(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  static_cast<Outbox*>(BIO_get_data(bio))->Append(data, size);
  *written = size;
  return 1;
}

long OutboxControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int OutboxCreate(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* OutboxMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "outbox");
    BIO_meth_set_write_ex(made, OutboxWrite);
    BIO_meth_set_ctrl(made, OutboxControl);
    BIO_meth_set_create(made, OutboxCreate);
    return made;
  }();
  return method;
}

// Whether the other end has closed. A handshake is most of what a short connection costs; on a host
// that is late, those who gave it up meanwhile would make it later still.
bool HasHungUp(int fd) {
  pollfd socket{fd, POLLRDHUP, 0};
  return poll(&socket, 1, 0) == 1 && (socket.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

class TlsChannel final : public Channel {
 public:
  TlsChannel(SSL_CTX* context, int fd, std::span<std::byte> scratch, TlsSide side)
      : fd_(fd),
        accepts_(side == TlsSide::kAccepts),
        scratch_(scratch),
        ssl_(SSL_new(context), SSL_free) {
    if (!ssl_) return;
    if (KernelHasTls()) {
      SSL_set_options(ssl_.get(), SSL_OP_ENABLE_KTLS);
      if (SSL_set_fd(ssl_.get(), fd) != 1) ssl_.reset();
    } else {
      BIO* in = BIO_new_socket(fd, BIO_NOCLOSE);
      BIO* out = BIO_new(OutboxMethod());
      if (out != nullptr) BIO_set_data(out, &outbox_);
      SSL_set_bio(ssl_.get(), in, out);
      if (in == nullptr || out == nullptr) ssl_.reset();
    }
    if (!ssl_) return;
    if (accepts_) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
    }
  }

  [[nodiscard]] bool ok() const { return ssl_ != nullptr; }

  Io Handshake() override {
    if (accepts_ && HasHungUp(fd_)) return Fail();
    ERR_clear_error();
    const int rc = SSL_do_handshake(ssl_.get());
    const Io done = rc == 1 ? Io{} : Failure(rc);
    const Io sent = outbox_.Send(fd_);
    if (done.want == Io::Want::kFailed || sent.want == Io::Want::kNothing) {
      if (done.want == Io::Want::kNothing) outbox_.Release();
      return done;
    }
    return sent;
  }

  Io Read(std::span<char> into) override {
    ERR_clear_error();
    std::size_t n = 0;
    const int rc = SSL_read_ex(ssl_.get(), into.data(), into.size(), &n);
    const Io got = rc == 1 ? Io{Io::Want::kNothing, n} : Failure(rc);
    // A key update of the other side may have put an answer there.
    if (outbox_.Send(fd_).want == Io::Want::kFailed) return Fail();
    return got;
  }

  // A closing client says close_notify, which only SSL_peek can tell from a request.
  Io Peek() override {
    ERR_clear_error();
    char byte = 0;
    std::size_t n = 0;
    const int rc = SSL_peek_ex(ssl_.get(), &byte, 1, &n);
    return rc == 1 ? Io{} : Failure(rc);
  }

  [[nodiscard]] bool HasPending() const override { return SSL_has_pending(ssl_.get()) == 1; }

  Io Write(std::span<const std::string_view> texts, bool more) override {
    if (const Io sent = outbox_.Send(fd_); sent.want != Io::Want::kNothing) return sent;
    std::size_t size = 0;
    for (const std::string_view text : texts) {
      const std::size_t part = std::min(text.size(), scratch_.size() - size);
      std::memcpy(scratch_.data() + size, text.data(), part);
      size += part;
    }
    return Seal(size, !more);
  }

  Io SendFile(const File& file, Bytes begin, Bytes end) override {
    if (BIO_get_ktls_send(SSL_get_wbio(ssl_.get()))) return SendFileByKernel(file, begin, end);
    // What Write held back for us is short and goes out with our bytes.
    if (held_back_) {
      held_back_ = false;
    } else if (const Io sent = outbox_.Send(fd_); sent.want != Io::Want::kNothing) {
      return sent;
    }
    const auto size = static_cast<std::size_t>(
        std::min((end - begin).count(), static_cast<std::int64_t>(scratch_.size())));
    if (!file.ReadAt(begin, scratch_.first(size)).ok()) return Fail();
    return Seal(size, true);
  }

  Io Flush() override {
    held_back_ = false;
    const Io sent = outbox_.Send(fd_);
    outbox_.Release();
    return sent;
  }

  void SayGoodbye() override {
    if (failed_ || SSL_is_init_finished(ssl_.get()) != 1) {
      outbox_.Send(fd_);  // an alert may be there
      return;
    }
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    outbox_.Send(fd_);
  }

  [[nodiscard]] std::optional<PeerId> peer() const override {
    if (!peer_) peer_ = PeerOf(ssl_.get());
    return peer_;
  }

  // Nothing is kept in scratch from one call to the next.
  void MoveTo(std::span<std::byte> scratch) override { scratch_ = scratch; }

 private:
  Io Fail() {
    failed_ = true;
    return {Io::Want::kFailed, 0};
  }

  Io Failure(int rc) {
    switch (SSL_get_error(ssl_.get(), rc)) {
      case SSL_ERROR_WANT_READ:
        return {Io::Want::kRead, 0};
      case SSL_ERROR_WANT_WRITE:
        return {Io::Want::kWrite, 0};
      case SSL_ERROR_ZERO_RETURN:
        return {Io::Want::kClosed, 0};
      default:
        ERR_clear_error();
        return Fail();
    }
  }

  // Seals the first `size` bytes of scratch and sends what the socket takes.
  Io Seal(std::size_t size, bool send_now) {
    if (size == 0) return {};
    ERR_clear_error();
    outbox_.Reserve(2 * kSealMax + scratch_.size() + (scratch_.size() / kRecordMax + 1) * kSealMax);
    std::size_t taken = 0;
    while (taken < size) {
      std::size_t n = 0;
      const int rc = SSL_write_ex(ssl_.get(), scratch_.data() + taken, size - taken, &n);
      if (rc != 1) {
        if (taken > 0) break;  // only with kernel TLS, whose socket can be full
        return Failure(rc);
      }
      taken += n;
    }
    held_back_ = !send_now;
    if (send_now && outbox_.Send(fd_).want == Io::Want::kFailed) return Fail();
    return {Io::Want::kNothing, taken};
  }

  Io SendFileByKernel(const File& file, Bytes begin, Bytes end) {
    ERR_clear_error();
    const auto size =
        static_cast<std::size_t>(std::min<std::int64_t>((end - begin).count(), 2 << 20));
    const ossl_ssize_t n = SSL_sendfile(ssl_.get(), file.fd(), begin.count(), size, 0);
    if (n < 0) return Failure(-1);
    if (n == 0) return Fail();
    return {Io::Want::kNothing, static_cast<std::size_t>(n)};
  }

  mutable std::optional<PeerId> peer_;  // once it is known; of every request it is wanted
  int fd_;
  bool accepts_;
  std::span<std::byte> scratch_;
  Outbox outbox_;  // before ssl_, whose BIO points to it
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  bool held_back_ = false;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Channel> MakeTlsChannel(SSL_CTX* context, int fd, std::span<std::byte> scratch,
                                        TlsSide side) {
  auto channel = std::make_unique<TlsChannel>(context, fd, scratch, side);
  if (!channel->ok()) return nullptr;
  return channel;
}

}  // namespace shoal::fetch
