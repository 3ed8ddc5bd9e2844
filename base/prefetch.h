// Prefetch: calls memory into the processor's cache before it is needed.
#pragma once

namespace shoal {

// Never faults, whatever the address.
inline void Prefetch(const void* at) {
  __builtin_prefetch(at);
  // gcc 12 thinks that a function with nothing else in it has no effect, and leaves out its calls.
  asm volatile("");
}

}  // namespace shoal
