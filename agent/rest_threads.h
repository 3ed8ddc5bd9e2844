// How many threads cpprestsdk runs. In a file of its own: cpprestsdk's header for it needs the
// deprecated names of Asio that the rest of shoal does without.
#pragma once

namespace shoal::agent {

// Before anything of cpprestsdk is used. It starts 40 by default; the status API and the index
// client need few.
void LimitRestThreads();

}  // namespace shoal::agent
