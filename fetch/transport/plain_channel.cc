#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "fetch/transport/channel.h"

namespace shoal::fetch {
namespace {

// One sendfile call: large enough that the call costs nothing beside the copy (nginx's default for
// sendfile_max_chunk is 2 MiB), small enough that other connections of the thread get their turn.
constexpr std::int64_t kSendFileMax = 2 << 20;
constexpr std::size_t kTextsAWrite = 16;
// The kernel moves a file on in steps of this size.
constexpr std::int64_t kSplice = 64 << 10;

Io FromErrno(Io::Want when_blocked) {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {when_blocked, 0};
  return {Io::Want::kFailed, 0};
}

class PlainChannel final : public Channel {
 public:
  explicit PlainChannel(int fd) : fd_(fd) {}

  Io Handshake() override { return {}; }

  Io Read(std::span<char> into) override {
    const ssize_t n = recv(fd_, into.data(), into.size(), 0);
    if (n < 0) return FromErrno(Io::Want::kRead);
    if (n == 0) return {Io::Want::kClosed, 0};
    return {Io::Want::kNothing, static_cast<std::size_t>(n)};
  }

  Io Peek() override {
    char byte = 0;
    const ssize_t n = recv(fd_, &byte, 1, MSG_PEEK);
    if (n < 0) return FromErrno(Io::Want::kRead);
    return {n == 0 ? Io::Want::kClosed : Io::Want::kNothing, 0};
  }

  [[nodiscard]] bool HasPending() const override { return false; }

  Io Write(std::span<const std::string_view> texts, bool more) override {
    std::array<iovec, kTextsAWrite> parts{};
    const std::size_t count = std::min(texts.size(), parts.size());
    for (std::size_t i = 0; i < count; ++i) {
      parts[i] = {const_cast<char*>(texts[i].data()), texts[i].size()};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const bool hold = more || count < texts.size();
    const ssize_t n = sendmsg(fd_, &message, MSG_NOSIGNAL | (hold ? MSG_MORE : 0));
    if (n < 0) return FromErrno(Io::Want::kWrite);
    return {Io::Want::kNothing, static_cast<std::size_t>(n)};
  }

  // The data threads block SIGPIPE: sendfile has no flag for it.
  // Corked, or without Nagle's algorithm the remainder of each of the kernel's steps leaves as a
  // packet of its own: half as many again.
  Io SendFile(const File& file, Bytes begin, Bytes end) override {
    if ((end - begin).count() > kSplice) Cork(true);
    off_t offset = begin.count();
    const auto length = static_cast<std::size_t>(std::min((end - begin).count(), kSendFileMax));
    const ssize_t n = sendfile(fd_, file.fd(), &offset, length);
    if (n < 0) return FromErrno(Io::Want::kWrite);
    if (n == 0) return {Io::Want::kFailed, 0};  // the file is shorter than it was
    return {Io::Want::kNothing, static_cast<std::size_t>(n)};
  }

  Io Flush() override {
    Cork(false);
    return {};
  }
  void SayGoodbye() override {}
  [[nodiscard]] std::optional<PeerId> peer() const override { return std::nullopt; }
  void MoveTo(std::span<std::byte>) override {}

 private:
  void Cork(bool corked) {
    if (std::exchange(corked_, corked) == corked) return;
    const int value = corked ? 1 : 0;
    // Where it fails, packets are smaller.
    setsockopt(fd_, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
  }

  int fd_;
  bool corked_ = false;
};

}  // namespace

RawConnection::~RawConnection() {
  channel.reset();
  if (fd >= 0) close(fd);
}

std::unique_ptr<Channel> MakePlainChannel(int fd) { return std::make_unique<PlainChannel>(fd); }

}  // namespace shoal::fetch
