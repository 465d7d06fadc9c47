package provision

// Version is the version of ONNX Runtime that is provisioned.
const Version = "1.29.0"

// CUDAProvider is the file name of the CUDA provider, which lies beside the core
// library.
const CUDAProvider = "libonnxruntime_providers_cuda.so"

// A release is one published build of the shared library: a folder of the
// cache, and the archives that fill it.
type release struct {
	name     string // folder within the cache, after the platform
	archives []archive
	cuda     bool // a CUDA provider fits this build
	onlyCUDA bool // too large to fetch for its CPU part alone
}

// An archive is a published file that holds libraries. Either its own digest
// is pinned or that of each file in it; nothing unpinned is ever loaded.
type archive struct {
	url    string // fetched over HTTPS, or
	npm    string // fetched by the npm client, NAME@VERSION
	sha256 string // of the archive; empty where every file is pinned
	cuda   bool   // fetched only when CUDA is asked for
	files  []file // the core library first
}

// A file is a member of an archive, named by the end of its path.
type file struct {
	member string
	name   string // in the cache
	sha256 string // empty where the archive is pinned
	size   int64  // in bytes; 0 where it is not known
}

// source names the archive in messages.
func (a archive) source() string {
	if a.npm != "" {
		return "npm package " + a.npm
	}
	return a.url
}

const (
	githubReleases = "https://github.com/microsoft/onnxruntime/releases/download/v" + Version + "/"
	nodePackage    = "onnxruntime-node@" + Version
	gpuPackage     = "com.github.asus4.onnxruntime.linux-x64-gpu@0.4.9"

	sharedProvider = "libonnxruntime_providers_shared.so"
)

// releasesFor lists a platform's builds in the order in which they are tried.
//
// The digests of the npm packages' files were computed from the packages. For
// the files of the GitHub archives they are those of the NuGet package of the
// same build, which agree with what several public projects pin for the
// archives; the GPU archive is pinned as a whole, by the digest that GitHub
// publishes for it.
func releasesFor(platform string) []release {
	switch platform {
	case "linux-amd64":
		return linuxAMD64
	case "linux-arm64":
		return linuxARM64
	case "darwin-arm64":
		return darwinARM64
	case "windows-amd64":
		return windowsAMD64
	}
	return nil
}

var linuxAMD64 = []release{{
	name: "github",
	archives: []archive{{
		url: githubReleases + "onnxruntime-linux-x64-" + Version + ".tgz",
		files: []file{{
			member: "lib/libonnxruntime.so." + Version,
			name:   "libonnxruntime.so." + Version,
			sha256: "5715f06d8992ca8eeeddcce43df3a7d38f97d537052126f558e912cb312460ca",
			size:   28497752,
		}},
	}},
}, {
	name:     "github-cuda13",
	cuda:     true,
	onlyCUDA: true,
	archives: []archive{{
		url:    githubReleases + "onnxruntime-linux-x64-gpu_cuda13-" + Version + ".tgz",
		sha256: "844c64acfc43ab9423215c26493055ea229268e28283146cc644ecef0bdae048",
		files: []file{
			{member: "lib/libonnxruntime.so." + Version, name: "libonnxruntime.so." + Version},
			{member: "lib/" + sharedProvider, name: sharedProvider},
			{member: "lib/" + CUDAProvider, name: CUDAProvider},
		},
	}},
}, {
	name: "npm",
	cuda: true,
	archives: []archive{{
		npm: nodePackage,
		files: []file{{
			member: "linux/x64/libonnxruntime.so.1",
			name:   "libonnxruntime.so.1",
			sha256: "89688f5cf51c7e31befbb7b9101bc027799009b18d1baa9a5b1146a72e69538d",
			size:   44726808,
		}},
	}, {
		npm:  gpuPackage,
		cuda: true,
		files: []file{{
			member: "Linux/x64/" + sharedProvider,
			name:   sharedProvider,
			sha256: "c6a12593396095f5670160e284c35d1700b7708cf3037b7042e2a5200ccae772",
			size:   14632,
		}, {
			member: "Linux/x64/" + CUDAProvider,
			name:   CUDAProvider,
			sha256: "56cf3254b118ad837ccc4ed8f6d1b23504bbf7ef91b34cbc0b289cb7f10b3037",
			size:   229780440,
		}},
	}},
}}

var linuxARM64 = []release{{
	name: "github",
	archives: []archive{{
		url: githubReleases + "onnxruntime-linux-aarch64-" + Version + ".tgz",
		files: []file{{
			member: "lib/libonnxruntime.so." + Version,
			name:   "libonnxruntime.so." + Version,
			sha256: "a27d21126db312aa8f02f3d5eaebe466e991f51f469882e6d0407d5a8b64afda",
			size:   24538024,
		}},
	}},
}, {
	name: "npm",
	archives: []archive{{
		npm: nodePackage,
		files: []file{{
			member: "linux/arm64/libonnxruntime.so.1",
			name:   "libonnxruntime.so.1",
			sha256: "a27d21126db312aa8f02f3d5eaebe466e991f51f469882e6d0407d5a8b64afda",
			size:   24538024,
		}},
	}},
}}

var darwinARM64 = []release{{
	name: "github",
	archives: []archive{{
		url: githubReleases + "onnxruntime-osx-arm64-" + Version + ".tgz",
		files: []file{{
			member: "lib/libonnxruntime." + Version + ".dylib",
			name:   "libonnxruntime." + Version + ".dylib",
			sha256: "c04fe65021445904a3cae047272cad05e648282c75bf1f9eb7b3440120ae13dc",
			size:   43184400,
		}},
	}},
}, {
	name: "npm",
	archives: []archive{{
		npm: nodePackage,
		files: []file{{
			member: "darwin/arm64/libonnxruntime." + Version + ".dylib",
			name:   "libonnxruntime." + Version + ".dylib",
			sha256: "3e4c63909e9fc6648c93c68741c1ccf1e3d89218dd1d6a7d4f3d629ffc7f9918",
			size:   43888264,
		}},
	}},
}}

var windowsAMD64 = []release{{
	name: "github",
	archives: []archive{{
		url: githubReleases + "onnxruntime-win-x64-" + Version + ".zip",
		files: []file{{
			member: "lib/onnxruntime.dll",
			name:   "onnxruntime.dll",
			sha256: "69d8e6d3879a3b4001cdc74c8ed9ccc7e7f799a5b847059738323404519ec471",
			size:   16149344,
		}},
	}},
}, {
	name: "npm",
	archives: []archive{{
		npm: nodePackage,
		files: []file{{
			member: "win32/x64/onnxruntime.dll",
			name:   "onnxruntime.dll",
			sha256: "5e289b5494cc338d62806f2d24c24aa7cc09a00bbab0404d9169487a45e0053a",
			size:   27989816,
		}},
	}},
}}
