// AdminServer: the status API's listener (cpprestsdk): small JSON answers on the admin port, and
// streams of events.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "index/record.h"

namespace shoal::agent {

struct AdminRequest {
  std::string method;             // GET, POST, DELETE
  std::vector<std::string> path;  // "/v1/blobs/x" is {"v1", "blobs", "x"}, decoded
  std::map<std::string, std::string> query;
  Json body;  // of a POST; null when there is none
};

// An answer that goes on: what is written is sent as it comes. Any thread.
class AdminStream {
 public:
  AdminStream();
  ~AdminStream();

  // False when nobody reads it any more, or so slowly that kUnreadMax lie here: it is closed then.
  bool Write(const std::string& text);
  void Close();

 private:
  friend class AdminServer;
  class Impl;
  std::shared_ptr<Impl> impl_;  // owners: this, and the answer that is being sent
};

struct AdminReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::shared_ptr<AdminStream> stream;  // in place of a body; owners: this, and who writes it
  Duration retry_after{0};              // told in whole seconds, when it is not 0
};

AdminReply JsonReply(const Json& value, int status = 200);
// {"error": "<one sentence>"} with the HTTP status that fits the code.
AdminReply ErrorReply(const Error& error);
bool IsRead(const AdminRequest& request);

// 405, of a path that is there but does not take this method.
AdminReply WrongMethod(const std::string& method);

class AdminServer {
 public:
  // Called on cpprestsdk's threads; may wait for the loop.
  using Handler = std::function<AdminReply(const AdminRequest&)>;

  // Its end waits for answers; whoever writes streams closes them first.
  //
  // Errors: kExhausted when the address is in use; the text names agent.admin.
  static Result<std::unique_ptr<AdminServer>> Start(const index::Endpoint& listen, Handler handler);
  ~AdminServer();

 private:
  class Impl;
  explicit AdminServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::agent
