#include "index/memory_catalog.h"

#include "tests/contract/catalog_contract.h"

namespace shoal::index {
namespace {

class MemoryMaker {
 public:
  Catalog& catalog() { return catalog_; }

 private:
  MemoryCatalog catalog_{ContractSelf(), kContractKeysMax};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, CatalogContract, MemoryMaker);

}  // namespace
}  // namespace shoal::index
