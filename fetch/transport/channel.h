// Channel: the bytes of one connection on a non-blocking socket, plain or TLS.
//
// A channel never waits: a call does what it can now and says what to wait for. It does not own the
// descriptor. One thread uses it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/digest.h"
#include "fetch/store/file.h"

using SSL_CTX = struct ssl_ctx_st;

namespace shoal::fetch {

struct Io {
  enum class Want {
    kNothing,  // done, `bytes` of it
    kRead,     // call again when the socket is readable
    kWrite,    // call again when the socket is writable
    kClosed,   // the other side will send no more
    kFailed,   // the connection, or the file, is of no use any more
  };
  Want want = Want::kNothing;
  std::size_t bytes = 0;
};

class Channel {
 public:
  virtual ~Channel() = default;

  // To be called until it says kNothing, before anything else.
  virtual Io Handshake() = 0;
  virtual Io Read(std::span<char> into) = 0;
  // Looks for the client's end without taking its bytes: kRead when it is silent, kNothing when
  // bytes wait to be read, else it is gone.
  virtual Io Peek() = 0;
  // Whether Read has something even if the socket is not readable.
  [[nodiscard]] virtual bool HasPending() const = 0;
  // Takes a part of `texts`, in order. more: file bytes follow at once.
  virtual Io Write(std::span<const std::string_view> texts, bool more) = 0;
  // Takes a part of [begin, end) of `file`.
  virtual Io SendFile(const File& file, Bytes begin, Bytes end) = 0;
  // To be called until it says kNothing after the last Write or SendFile: what they took and still
  // hold goes out. Gives buffers back.
  virtual Io Flush() = 0;
  // Says goodbye where the protocol has a word for it, without waiting.
  virtual void SayGoodbye() = 0;
  [[nodiscard]] virtual std::optional<PeerId> peer() const = 0;
  // Goes on on another thread, whose scratch this is.
  virtual void MoveTo(std::span<std::byte> scratch) = 0;
};

// A connection that its owner may use as it likes. Closed with its owner.
struct RawConnection {
  RawConnection(int f, std::unique_ptr<Channel> c, std::string e = "")
      : fd(f), channel(std::move(c)), early(std::move(e)) {}
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;
  // The caller closes the descriptor from now on.
  int ReleaseFd() { return std::exchange(fd, -1); }

  int fd;                            // non-blocking; -1: none
  std::unique_ptr<Channel> channel;  // nullptr: not yet made
  std::string early;                 // what came behind a request
};

// sendfile(2) and writev: bodies do not pass through user space.
std::unique_ptr<Channel> MakePlainChannel(int fd);

enum class TlsSide { kAccepts, kDials };

// TLS 1.3, by default as a server. Bodies are read into `scratch` (shared by all channels of one
// thread, at least 16 KiB), sealed record by record, and sent many records at a time. With kernel
// TLS they are sent by SSL_sendfile.
//
// Returns nullptr when memory is short.
std::unique_ptr<Channel> MakeTlsChannel(SSL_CTX* context, int fd, std::span<std::byte> scratch,
                                        TlsSide side = TlsSide::kAccepts);

}  // namespace shoal::fetch
