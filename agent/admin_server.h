// AdminServer: the status API's listener (cpprestsdk): small JSON answers on the admin port.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "index/record.h"

namespace shoal::agent {

struct AdminRequest {
  std::string method;             // GET, POST, DELETE
  std::vector<std::string> path;  // "/v1/blobs/x" is {"v1", "blobs", "x"}, decoded
  std::map<std::string, std::string> query;
  Json body;  // of a POST; null when there is none
};

struct AdminReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

AdminReply JsonReply(const Json& value, int status = 200);
// {"error": "<one sentence>"} with the HTTP status that fits the code.
AdminReply ErrorReply(const Error& error);

class AdminServer {
 public:
  // Called on cpprestsdk's threads; may wait for the loop.
  using Handler = std::function<AdminReply(const AdminRequest&)>;

  // Errors: kExhausted when the address is in use; the text names agent.admin.
  static Result<std::unique_ptr<AdminServer>> Start(const index::Endpoint& listen, Handler handler);
  ~AdminServer();

 private:
  class Impl;
  explicit AdminServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::agent
