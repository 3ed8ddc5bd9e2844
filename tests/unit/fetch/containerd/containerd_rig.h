// A containerd of the test's own, a loop for its inventories, and images to feed it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/encoding.h"
#include "base/executor.h"
#include "base/rng.h"
#include "fetch/containerd/containerd.h"

namespace shoal::fetch {

class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "shoal-cd-XXXXXX").string();
    SHOAL_CHECK(mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct Output {
  int exit = -1;
  std::string text;  // stdout and stderr
};

inline Output Shell(const std::string& command) {
  Output output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "re");
  SHOAL_CHECK(pipe != nullptr);
  char buffer[4096];
  for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.text.append(buffer, n);
  }
  const int status = pclose(pipe);
  output.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

inline void WriteFile(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// Where containerd and ctr are: Debian's, or those of another version to try.
inline std::string Program(const std::string& name) {
  const char* folder = std::getenv("SHOAL_TEST_CONTAINERD_DIR");
  return (folder == nullptr ? std::string("/usr/bin") : std::string(folder)) + "/" + name;
}

// A containerd with a root, state and socket of its own.
class ContainerdProcess {
 public:
  explicit ContainerdProcess(const TempDir& dir) : dir_(dir) {
    std::string disabled;
    for (const char* plugin :
         {"grpc.v1.cri", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper",
          "snapshotter.v1.aufs", "internal.v1.opt"}) {
      disabled += std::string("\"io.containerd.") + plugin + "\",";
    }
    WriteFile(dir_ / "config.toml", "version = 2\nroot = \"" + (dir_ / "root") + "\"\nstate = \"" +
                                        (dir_ / "state") + "\"\ndisabled_plugins = [" + disabled +
                                        "]\n[grpc]\n" + "address = \"" + socket() + "\"\n");
  }
  ~ContainerdProcess() { End(SIGKILL); }

  [[nodiscard]] std::string socket() const { return dir_ / "c.sock"; }
  [[nodiscard]] std::string root() const { return dir_ / "root/io.containerd.content.v1.content"; }

  void Start() {
    const std::string config = dir_ / "config.toml";
    const std::string log = dir_ / "log";
    const std::string program = Program("containerd");
    // setpriv: containerd must not outlive a test that crashes.
    const char* argv[] = {"setpriv", "--pdeathsig",  "KILL", program.c_str(),
                          "-c",      config.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    const int error =
        posix_spawnp(&pid_, "setpriv", &actions, nullptr, const_cast<char**>(argv), environ);
    posix_spawn_file_actions_destroy(&actions);
    SHOAL_CHECK(error == 0);
  }
  void Signal(int signal) const { SHOAL_CHECK(kill(pid_, signal) == 0); }
  // Ends it with `signal` and waits for its end.
  void End(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  [[nodiscard]] Output Ctr(const std::string& command,
                           const std::string& name_space = "k8s.io") const {
    return Shell(Program("ctr") + " -a " + socket() + " -n " + name_space + " " + command);
  }

 private:
  const TempDir& dir_;
  pid_t pid_ = 0;
};

class LoopThread : public Executor {
 public:
  ~LoopThread() override {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void Post(std::function<void()> work) override {
    {
      const std::lock_guard lock(mutex_);
      work_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return done_ || !work_.empty(); });
      if (work_.empty()) return;
      auto work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool done_ = false;
  std::thread thread_{[this] { Run(); }};
};

// The inventories told so far.
class Inventories {
 public:
  using Wanted = std::function<bool(const ContainerdInventory&)>;

  Containerd::OnInventory Listener() {
    return [this](ContainerdInventory inventory) {
      const std::lock_guard lock(mutex_);
      last_ = std::move(inventory);
      ++count_;
      changed_.notify_all();
    };
  }
  // Waits until one after the first `seen` is as wanted.
  bool Await(const Wanted& wanted, int seen = 0) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [&] { return count_ > seen && wanted(last_); });
  }
  bool AwaitAny(int seen = 0) {
    return Await([](const ContainerdInventory&) { return true; }, seen);
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  ContainerdInventory last_;
  int count_ = 0;
};

inline Digest Sha256(const std::string& bytes) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.bytes.data()));
  return digest;
}

inline std::string RandomBytes(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::string bytes(count, '\0');
  for (char& c : bytes) c = static_cast<char>(rng.Next());
  return bytes;
}

// A manifest, its config and its layers, also as the OCI layout that `ctr images import` takes.
class TestImage {
 public:
  static constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";

  TestImage(std::string name, std::vector<std::string> layers)
      : name_(std::move(name)), layers_(std::move(layers)) {
    std::string rest;
    std::string diff_ids;
    for (const std::string& layer : layers_) {
      const std::string comma = rest.empty() ? "" : ",";
      rest += comma + Descriptor("application/vnd.oci.image.layer.v1.tar", layer);
      diff_ids += comma + "\"" + ToString(Sha256(layer)) + "\"";
    }
    config_ = R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[)" +
              diff_ids + "]},\"config\":{}}";
    manifest_ = std::string(R"({"schemaVersion":2,"mediaType":")") + kManifestType +
                R"(","config":)" + Descriptor("application/vnd.oci.image.config.v1+json", config_) +
                ",\"layers\":[" + rest + "]}";
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Digest digest() const { return Sha256(manifest_); }
  [[nodiscard]] const std::string& layer(std::size_t i) const { return layers_[i]; }
  // Every blob: layers, config, manifest.
  [[nodiscard]] std::vector<std::string> blobs() const {
    std::vector<std::string> all = layers_;
    all.push_back(config_);
    all.push_back(manifest_);
    return all;
  }

  // Writes the layout as a tar.
  [[nodiscard]] std::string WriteTar(const TempDir& dir) const {
    const std::string folder = dir / ("layout-" + digest().Hex());
    for (const std::string& blob : blobs()) {
      WriteFile(folder + "/blobs/sha256/" + Sha256(blob).Hex(), blob);
    }
    WriteFile(folder + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    std::string entry = Descriptor(kManifestType, manifest_);
    entry.insert(entry.size() - 1,
                 R"(,"annotations":{"io.containerd.image.name":")" + name_ + "\"}");
    WriteFile(folder + "/index.json", R"({"schemaVersion":2,"manifests":[)" + entry + "]}");
    SHOAL_CHECK(Shell("tar -C " + folder + " -cf " + folder + ".tar .").exit == 0);
    return folder + ".tar";
  }

  // As one asks Ingest for it; the files lie in `dir`.
  [[nodiscard]] IngestImage ToIngest(const TempDir& dir) const {
    IngestImage image{name_, kManifestType, digest(), Bytes(Count(manifest_)), {}};
    for (const std::string& bytes : blobs()) {
      const std::string path = dir / ("ingest/" + Sha256(bytes).Hex());
      WriteFile(path, bytes);
      image.blobs.push_back({Sha256(bytes), Bytes(Count(bytes)), "", *OpenForRead(path), {}});
    }
    IngestBlob& manifest = image.blobs.back();
    manifest.media_type = kManifestType;
    const std::string prefix = "containerd.io/gc.ref.content.";
    manifest.labels.emplace_back(prefix + "config", ToString(Sha256(config_)));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      manifest.labels.emplace_back(prefix + "l." + std::to_string(i), ToString(Sha256(layers_[i])));
    }
    return image;
  }

 private:
  static std::int64_t Count(const std::string& bytes) {
    return static_cast<std::int64_t>(bytes.size());
  }
  static std::string Descriptor(const std::string& media_type, const std::string& bytes) {
    return R"({"mediaType":")" + media_type + R"(","digest":")" + ToString(Sha256(bytes)) +
           R"(","size":)" + std::to_string(bytes.size()) + "}";
  }

  std::string name_;
  std::vector<std::string> layers_;
  std::string config_;
  std::string manifest_;
};

// A containerd, a loop and the adapter between them; nothing runs until it is started.
class ContainerdTest : public ::testing::Test {
 protected:
  ~ContainerdTest() override { adapter_.reset(); }

  void StartAdapter() {
    Containerd::Options options;
    options.socket = process_.socket();
    options.retry_max = std::chrono::milliseconds(200);
    options.settle = std::chrono::milliseconds(20);
    adapter_ = Containerd::Start(options, loop_, heard_.Listener());
  }
  // Both, and what containerd holds was told.
  void StartBoth() {
    process_.Start();
    StartAdapter();
    ASSERT_TRUE(heard_.AwaitAny());
  }
  void Import(const TestImage& image, const std::string& name_space = "k8s.io") {
    const Output output =
        process_.Ctr("images import --no-unpack " + image.WriteTar(dir_), name_space);
    ASSERT_EQ(output.exit, 0) << output.text;
  }
  // Waits until the content store has or lacks a blob that `ctr` sees.
  [[nodiscard]] bool Lists(const Digest& digest) const {
    return process_.Ctr("content ls -q").text.find(ToString(digest)) != std::string::npos;
  }

  TempDir dir_;
  ContainerdProcess process_{dir_};
  LoopThread loop_;
  Inventories heard_;
  std::unique_ptr<Containerd> adapter_;
};

}  // namespace shoal::fetch
