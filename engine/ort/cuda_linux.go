package ort

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/ebitengine/purego"
)

const driverLibrary = "libcuda.so.1"

// cudnn is opened by the provider only when a convolution needs it.
const cudnn = "libcudnn.so.9"

// checkCUDA makes sure that the provider beside the library at path can start
// on the device, and says what is missing where it cannot. It leaves CUDA's
// libraries loaded, so that the provider finds those outside the system's
// places.
func checkCUDA(path string, device int) error {
	provider, err := elf.Open(filepath.Join(filepath.Dir(path), provision.CUDAProvider))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCUDA, err)
	}
	needed, err := provider.ImportedLibraries()
	if err = errors.Join(err, provider.Close()); err != nil {
		return fmt.Errorf("%w: reading %s: %w", ErrNoCUDA, provision.CUDAProvider, err)
	}
	folders := filepath.SplitList(os.Getenv(EnvCUDALibraries))
	var missing []string
	for _, name := range dependenciesFirst(needed) {
		if !load(name, folders) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return missingError(missing)
	}
	load(cudnn, folders) // optional: without it convolutions fail, and say so
	devices, err := Devices()
	if err != nil {
		return err
	}
	if device < 0 || device >= len(devices) {
		return fmt.Errorf("%w: device %d asked for, the process sees %d", ErrNoCUDA, device, len(devices))
	}
	return nil
}

// dependenciesFirst puts a library before those that need it: cuBLAS opens its
// lightweight part by name, which must be loaded by then.
func dependenciesFirst(needed []string) []string {
	var first, rest []string
	for _, name := range needed {
		if strings.HasPrefix(name, "libcudart.") || strings.HasPrefix(name, "libcublasLt.") {
			first = append(first, name)
		} else {
			rest = append(rest, name)
		}
	}
	return append(first, rest...)
}

// load opens a library by name, in the system's places or in one of folders,
// and keeps it open for the provider.
func load(name string, folders []string) bool {
	if _, err := purego.Dlopen(name, purego.RTLD_LAZY|purego.RTLD_GLOBAL); err == nil {
		return true
	}
	for _, folder := range folders {
		if _, err := purego.Dlopen(filepath.Join(folder, name), purego.RTLD_LAZY|purego.RTLD_GLOBAL); err == nil {
			return true
		}
	}
	return false
}

// driver is the part of CUDA's driver interface that this package calls.
type driver struct {
	init            func(flags uint32) int32
	deviceCount     func(n *int32) int32
	device          func(d *int32, index int32) int32
	deviceName      func(name *byte, size int32, d int32) int32
	deviceMemory    func(bytes *uint64, d int32) int32
	retainContext   func(context *uintptr, d int32) int32
	releaseContext  func(d int32) int32
	pushContext     func(context uintptr) int32
	popContext      func(context *uintptr) int32
	availableMemory func(free, total *uint64) int32
}

func openDriver() (*driver, error) {
	library, err := purego.Dlopen(driverLibrary, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("%w: no NVIDIA driver: %w", ErrNoCUDA, err)
	}
	var d driver
	for symbol, function := range map[string]any{
		"cuInit": &d.init, "cuDeviceGetCount": &d.deviceCount, "cuDeviceGet": &d.device,
		"cuDeviceGetName": &d.deviceName, "cuDeviceTotalMem_v2": &d.deviceMemory,
		"cuDevicePrimaryCtxRetain": &d.retainContext, "cuDevicePrimaryCtxRelease_v2": &d.releaseContext,
		"cuCtxPushCurrent_v2": &d.pushContext, "cuCtxPopCurrent_v2": &d.popContext, "cuMemGetInfo_v2": &d.availableMemory,
	} {
		address, err := purego.Dlsym(library, symbol)
		if err != nil {
			return nil, fmt.Errorf("%w: the driver is too old: %w", ErrNoCUDA, err)
		}
		purego.RegisterFunc(function, address)
	}
	if code := d.init(0); code != 0 {
		return nil, fmt.Errorf("%w: the driver does not start: cuda error %d", ErrNoCUDA, code)
	}
	return &d, nil
}

// Devices lists the GPUs that this process may use. Without a driver, or with
// one that sees no GPU, the error is an ErrNoCUDA that says so.
func Devices() ([]Device, error) {
	d, err := openDriver()
	if err != nil {
		return nil, err
	}
	var count int32
	if code := d.deviceCount(&count); code != 0 {
		return nil, fmt.Errorf("%w: counting devices: cuda error %d", ErrNoCUDA, code)
	}
	var devices []Device
	for i := range count {
		var handle int32
		var memory uint64
		var name [128]byte
		if code := d.device(&handle, i); code != 0 {
			return nil, fmt.Errorf("%w: device %d: cuda error %d", ErrNoCUDA, i, code)
		}
		if code := d.deviceName(&name[0], int32(len(name)), handle); code != 0 {
			return nil, fmt.Errorf("%w: name of device %d: cuda error %d", ErrNoCUDA, i, code)
		}
		if code := d.deviceMemory(&memory, handle); code != 0 {
			return nil, fmt.Errorf("%w: memory of device %d: cuda error %d", ErrNoCUDA, i, code)
		}
		text, _, _ := strings.Cut(string(name[:]), "\x00")
		devices = append(devices, Device{Index: int(i), Name: text, Memory: int64(memory)})
	}
	if len(devices) == 0 {
		return nil, fmt.Errorf("%w: the driver sees no device", ErrNoCUDA)
	}
	return devices, nil
}

// FreeMemory tells how many bytes of a device's memory no process holds, of
// how many. It counts what arenas have reserved as held.
func FreeMemory(device int) (free, total int64, err error) {
	d, err := openDriver()
	if err != nil {
		return 0, 0, err
	}
	runtime.LockOSThread() // a context is current to a thread
	defer runtime.UnlockOSThread()
	var handle int32
	if code := d.device(&handle, int32(device)); code != 0 {
		return 0, 0, fmt.Errorf("%w: device %d: cuda error %d", ErrNoCUDA, device, code)
	}
	var context, popped uintptr
	if code := d.retainContext(&context, handle); code != 0 {
		return 0, 0, fmt.Errorf("context of device %d: cuda error %d", device, code)
	}
	defer d.releaseContext(handle)
	if code := d.pushContext(context); code != 0 {
		return 0, 0, fmt.Errorf("context of device %d: cuda error %d", device, code)
	}
	defer d.popContext(&popped)
	var f, t uint64
	if code := d.availableMemory(&f, &t); code != 0 {
		return 0, 0, fmt.Errorf("memory of device %d: cuda error %d", device, code)
	}
	return int64(f), int64(t), nil
}
