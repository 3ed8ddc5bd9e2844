#include "agent/run.h"

#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <memory>
#include <utility>

#include "agent/admin_server.h"
#include "agent/agent.h"
#include "agent/data_folder.h"
#include "agent/index_server.h"
#include "agent/index_status.h"
#include "agent/rest_threads.h"
#include "index/keyfile/keyfile.h"
#include "index/net/io_thread.h"

namespace shoal::agent {
namespace {

// One line an event. JSON escapes what a message may hold; %v cannot.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    Json line = Json::object();
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch());
    line["time_ms"] = Json::number(static_cast<std::int64_t>(ms.count()));
    line["level"] = Json::string(std::string(spdlog::level::to_string_view(message.level).data()));
    line["text"] = Json::string(std::string(message.payload.data(), message.payload.size()));
    const std::string text = line.serialize() + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

void SetUpLogs(const Config& config) {
  auto logger =
      std::make_shared<spdlog::logger>("shoal", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::from_str(
      config.agent.log_level == "warn" ? "warning" : config.agent.log_level));
  if (config.agent.log_format == "json") {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %-7l %v");
  }
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

// Blocks the signals in this thread and all that it starts, so that sigwait gets them.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

void WaitForStop(const sigset_t& signals) {
  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("stopping: {}", strsignal(received));
  sd_notify(0, "STOPPING=1");
}

// What the configuration says wrongly is 2; a host that does not let us is 1, not "no agent".
Exit FailToStart(const Error& error) {
  const bool usage = error.code == Code::kInvalid || error.code == Code::kUnsupported;
  return Fail(usage ? error : Error{Code::kExhausted, error.text});
}

}  // namespace

Exit RunAgent(const Config& config) {
  SetUpLogs(config);
  LimitRestThreads();
  const sigset_t signals = BlockSignals();
  auto agent = Agent::Start(config);
  if (!agent) return FailToStart(agent.error());
  spdlog::info("shoal {} runs as {}: mirror {}, peers {}, status {}", SHOAL_VERSION,
               (*agent)->id().Hex(), config.mirror.listen,
               (*agent)->InAnyRoom() ? config.peer.listen : "none", config.agent.admin);
  sd_notify(0, "READY=1");
  WaitForStop(signals);
  (*agent)->Stop();
  spdlog::info("stopped");
  return Exit::kDone;
}

Exit RunIndexServer(const Config& config) {
  SetUpLogs(config);
  LimitRestThreads();
  const sigset_t signals = BlockSignals();
  const auto folder = TakeDataFolder(config.agent.data_dir);
  if (!folder) return FailToStart(folder.error());
  auto key = index::LoadOrMakeKey(config.agent.data_dir + "/identity");
  if (!key) return FailToStart(key.error());
  IndexServer::Options options;
  options.listen = *index::ParseEndpoint(config.rendezvous.listen);
  options.service.dir = config.agent.data_dir + "/index";
  options.service.limits.ttl_min = config.rendezvous.ttl_min;
  options.service.limits.ttl_max = config.rendezvous.ttl_max;
  options.service.limits.ttl_default = config.rendezvous.ttl_default;
  options.service.federate = config.rendezvous.federate;
  options.search = config.rendezvous.search;
  options.service.pin_file = config.agent.data_dir + "/index-servers";
  auto server = IndexServer::Start(options, *key);
  if (!server) return FailToStart(server.error());
  const Time started = index::SteadyNow();
  const IndexStatus status(**server, key->id(), started);
  auto admin =
      AdminServer::Start(*index::ParseEndpoint(config.agent.admin),
                         [&](const AdminRequest& request) { return status.Answer(request); });
  if (!admin) return FailToStart(admin.error());
  spdlog::info("index server {} listens on {}; give it to agents as https://<this host>:{}#{}",
               SHOAL_VERSION, config.rendezvous.listen,
               index::ParseEndpoint(config.rendezvous.listen)->port, key->id().Hex());
  sd_notify(0, "READY=1");
  WaitForStop(signals);
  admin->reset();
  server->reset();
  spdlog::info("stopped");
  return Exit::kDone;
}

}  // namespace shoal::agent
