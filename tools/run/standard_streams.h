#pragma once

namespace penstock::tools {

/// Opens /dev/null in the place of each of descriptors 0, 1 and 2 that the caller closed (`>&-`): else the next file or
/// socket to be opened would get that number, and answers or messages would be written into it.
/// Call it first in main.
void ensure_standard_streams();

}  // namespace penstock::tools
