#include "agent/known_peers.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "index/keyfile/file_io.h"

namespace shoal::agent {

std::string ToText(const std::vector<index::SignedRecord>& records) {
  std::string text;
  for (const auto& record : records) {
    // A stranger wrote it: it may be any JSON.
    if (record.envelope().find('\n') != std::string::npos) continue;
    text += record.envelope() + '\n';
  }
  return text;
}

std::vector<index::SignedRecord> ParseKnownPeers(std::string_view text, std::size_t count_max) {
  std::vector<index::SignedRecord> records;
  while (!text.empty() && records.size() < count_max) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (auto record = index::SignedRecord::Parse(line)) records.push_back(*std::move(record));
  }
  return records;
}

void KnownPeers::Start() {
  ports_.disk.Post([this] {
    std::ifstream file(ports_.path, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(file), {});
    auto records = ParseKnownPeers(text, kKeptMax);
    ports_.loop.Post([this, records = std::move(records)] {
      Tell(records);
      Keep();
    });
  });
}

void KnownPeers::Tell(const std::vector<index::SignedRecord>& records) {
  if (!records.empty()) spdlog::info("{} peers were known when last running", records.size());
  for (const auto& record : records) {
    if (record.record().expires > ports_.loop.Wall()) {
      ports_.on_record(record);
    } else if (!record.record().endpoints.empty()) {
      ports_.on_endpoint(record.record().endpoints.front());
    }
  }
}

void KnownPeers::Keep() {
  const auto records = ports_.living(kKeptMax);
  // Nobody lives: those who did last are still the best to ask next time.
  if (!records.empty()) {
    if (auto text = ToText(records); text != kept_) {
      kept_ = text;
      ports_.disk.Post([this, text = std::move(text)] {
        auto written = index::WriteWhole(ports_.path, text, index::IfThere::kReplace);
        if (!written) spdlog::warn("known peers were not kept: {}", written.error().text);
      });
    }
  }
  ports_.loop.After(kEvery, [this] { Keep(); });
}

}  // namespace shoal::agent
