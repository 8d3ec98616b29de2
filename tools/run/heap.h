#pragma once

namespace penstock::tools {

/// Makes the allocator keep little beside what is in use. The C library gives each thread a heap of its own; what one
/// thread allocates and another frees, as ours do with every message and file, then stays behind in each of them.
/// Call it first in main, before there are threads.
void share_heap();

}  // namespace penstock::tools
