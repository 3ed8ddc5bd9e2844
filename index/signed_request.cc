#include "index/signed_request.h"

#include "index/envelope.h"

namespace shoal::index {
namespace {

constexpr std::string_view kRequestContext = "shoal-rendezvous-v1\n";
constexpr std::size_t kRequestPayloadBytesMax = kRendezvousRequestBytesMax / 4 * 3;

}  // namespace

std::string EncodeSigned(std::string_view verb, Json payload, std::int64_t sent_ms,
                         const PeerId& server, const SignedRecord& record, const SigningKey& key) {
  payload["verb"] = Json::string(std::string(verb));
  payload["server"] = Json::string(server.Hex());
  payload["sent"] = Json::number(sent_ms);
  const auto text = payload.serialize();
  return R"({"request":")" + ToBase64Url(AsBytes(text)) + R"(","record":)" + record.envelope() +
         R"(,"signature":")" + ToBase64Url(SignIn(kRequestContext, text, key)) + R"("})";
}

SignedRequestOrError DecodeSigned(std::string_view text, std::string_view verb,
                                  const PeerId& server, const ReadRecord& read,
                                  const std::optional<PeerId>& shown) {
  const auto refuse = [](RendezvousStatus status, std::string why) {
    return SignedRequestOrError{{status, std::move(why)}, std::nullopt};
  };
  auto json = ParseJson(text, kRendezvousRequestBytesMax);
  if (!json) return refuse(RendezvousStatus::kNotAuthorized, json.error().text);
  if (!json->has_object_field("record")) {
    return refuse(RendezvousStatus::kInvalidRecord, "JSON member \"record\" must be an object");
  }
  auto record = read(json->at("record"));
  if (!record) return refuse(RendezvousStatus::kInvalidRecord, record.error().text);
  const auto payload = GetBase64(*json, "request", kRequestPayloadBytesMax);
  if (!payload) return refuse(RendezvousStatus::kNotAuthorized, payload.error().text);
  const auto signature = GetSignature(*json, "signature");
  if (!signature) return refuse(RendezvousStatus::kNotAuthorized, signature.error().text);
  if (shown != (*record)->id() &&
      !VerifyIn(kRequestContext, *payload, (*record)->record().key, *signature)) {
    return refuse(RendezvousStatus::kNotAuthorized, "the signature is not by the record's key");
  }
  auto said = ParseJson(*payload, kRequestPayloadBytesMax);
  if (!said) return refuse(RendezvousStatus::kNotAuthorized, said.error().text);
  const auto signed_verb = GetString(*said, "verb", 16);
  const auto signed_server = GetString(*said, "server", 64);
  const auto sent = GetInt(*said, "sent", 0, kJsonIntMax);
  if (!signed_verb || *signed_verb != verb || !signed_server || *signed_server != server.Hex() ||
      !sent) {
    return refuse(RendezvousStatus::kNotAuthorized,
                  "the request was signed for something else: verb, server or time do not fit");
  }
  return {{}, SignedRequest{*std::move(record), *sent, *std::move(said)}};
}

}  // namespace shoal::index
