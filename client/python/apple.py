"""What a linker must know of macOS to build the program elsewhere than on a Mac.

Go names the functions that it takes of Apple's libraries in its own sources, in lines
``//go:cgo_import_dynamic``. Lists of those names, in the form of Apple's text-based
stubs, are all that linking needs; nothing of Apple's is copied. zig brings the system's
own library and its headers but for one, whose only function that is used here is
declared below.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
from typing import Dict, List, Set

_IMPORT = re.compile(r'//go:cgo_import_dynamic \w+ (\w+)(?:#\w+)? "([^"]+)"')

_STUB = """--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '{library}'
exports:
  - targets: [ arm64-macos ]
    symbols: [ {symbols} ]
...
"""

#: Of mach/mach_vm.h, what Prometheus's client uses.
_HEADER = """#include <mach/mach.h>
kern_return_t mach_vm_region(vm_map_read_t, mach_vm_address_t *, mach_vm_size_t *, vm_region_flavor_t,
	vm_region_info_t, mach_msg_type_number_t *, mach_port_t *);
"""

#: The packages of Go that import functions of libraries other than the system's own.
_PACKAGES = ("src/crypto/x509/internal/macos", "src/internal/syscall/unix")


def imports() -> Dict[str, Set[str]]:
    """The functions that Go takes of each library, by its path on a Mac."""
    root = pathlib.Path(subprocess.run(["go", "env", "GOROOT"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    found: Dict[str, Set[str]] = {}
    for package in _PACKAGES:
        for source in (root / package).glob("*.go"):
            for function, library in _IMPORT.findall(source.read_text()):
                if "libSystem" not in library:
                    found.setdefault(library, set()).add(function)
    return found


def flags(folder: pathlib.Path) -> List[str]:
    """Writes stubs and header into a folder and gives the compiler's flags that find
    them."""
    for library, functions in imports().items():
        framework = re.search(r"(\w+)\.framework", library)
        name = pathlib.PurePosixPath(library).name.split(".")[0]
        path = folder / f"{framework[1]}.framework/{framework[1]}.tbd" if framework else folder / f"{name}.tbd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_STUB.format(library=library, symbols=", ".join("_" + f for f in sorted(functions))))
    (folder / "mach").mkdir(exist_ok=True)
    (folder / "mach/mach_vm.h").write_text(_HEADER)
    return [f"-F{folder}", f"-L{folder}", f"-I{folder}"]
