"""The forms in which libraries, engines and systems say that memory ran out, with the kind of failure that each means.

The wording follows the format strings of the libraries; a form stands once for all versions that share its words.
"""

from dataclasses import dataclass

MEMORY_KINDS = (
    "gpu_oom", "cpu_oom", "killed", "host_pinned", "kv_cache_budget", "quant_dispatch", "alloc_failed_library",
    "disk_or_shm",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One way of saying it: any of the phrases. `weak` forms count only where nothing else was found."""

    name: str
    kind: str
    phrases: tuple[str, ...]
    backend: str | None = None
    weak: bool = False


FORMS = (
    Form("torch", "gpu_oom", ("HIP out of memory",), "hip"),
    Form("torch", "gpu_oom", (
        "XPU out of memory", "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", "UR_RESULT_ERROR_OUT_OF_RESOURCES",
        "PI_ERROR_OUT_OF_RESOURCES", "can NOT allocate memory block with size larger than"), "xpu"),
    Form("torch", "gpu_oom", ("PrivateUse1 out of memory", "NPU out of memory", "MUSA out of memory")),
    Form("torch", "gpu_oom", ("CUDA out of memory", "CUDA out of the memory", "CUDA out of memmory"), "cuda"),
    Form("torch", "gpu_oom", ("Tried to allocate <n><word>GPU<n>has a total capac",), weak=True),
    Form("torch_block", "gpu_oom", ("would exceed allowed memory", "Allocation on device"), "cuda"),
    Form("mps", "gpu_oom", ("MPS backend out of memory",), "mps"),
    Form("mps_buffer", "gpu_oom", ("Invalid buffer size: <n>",), "mps"),
    Form("metal", "gpu_oom", ("[metal::malloc]", "kIOGPUCommandBufferCallbackErrorOutOfMemory",
                              "Command buffer ... Insufficient Memory"), "metal"),
    Form("torch_bare", "gpu_oom", (
        "CUDA error: out of memory", "CUDA error (2): out of memory", "CUDA driver error: out of memory",
        "cuda runtime error (2) : out of memory", "error=2 : out of memory", "CUDA_ERROR_OUT_OF_MEMORY",
        "cudaErrorMemoryAllocation", "CUDA failure 2: out of memory", "Triton Error [CUDA]: out of memory",
        "Cuda error: 2[cudaMalloc", "cudaErrorMemoryValueTooLarge", "(2 vs. 0) out of memory"), "cuda"),
    Form("torch_bare", "gpu_oom", ("HIP error: out of memory", "hipErrorOutOfMemory"), "hip"),
    Form("tensorflow", "gpu_oom", ("OOM when allocating tensor", "ResourceExhaustedError",
                                   "Dst tensor is not initialized",
                                   "Resource exhausted: failed to allocate memory")),
    Form("tensorflow_pool", "gpu_oom", ("bfc_allocator.cc:<n>] InUse at", "ran out of memory trying to allocate"),
         weak=True),
    Form("xla", "gpu_oom", ("RESOURCE_EXHAUSTED: Out of memory", "Out of memory while trying to allocate <n>",
                            "RESOURCE_EXHAUSTED: Error allocating device buffer",
                            "RESOURCE_EXHAUSTED: Failed to allocate",
                            "Resource exhausted: Failed to allocate request",
                            "RESOURCE_EXHAUSTED: Attempting to reserve",
                            "RESOURCE_EXHAUSTED: Ran out of memory in memory space", "Failed to allocate request for")),
    Form("ggml", "gpu_oom", (
        "cudaMalloc failed: out of memory", "CUDA error 2 at <word> out of memory",
        "failed to allocate CUDA<n> buffer", "failed to allocate ROCm<n> buffer",
        "ggml_vulkan: Device memory allocation of size <n> failed", "failed to allocate Vulkan<n> buffer",
        "ggml_vulkan: ... ErrorOutOfDeviceMemory", "unable to allocate CUDA<n> buffer",
        "hipMalloc failed: out of memory",
        "unable to allocate ROCm<n> buffer", "unable to allocate Vulkan<n> buffer", "unable to allocate SYCL<n> buffer",
        "failed to allocate SYCL<n> buffer", "ggml_metal_buffer_init: error: failed to allocate buffer",
        "ggml_backend_metal_buffer_type_alloc_buffer: error: failed to allocate buffer",
        "ggml_backend_sycl_buffer_type_alloc_buffer: can't allocate",
        "unable to allocate backend buffer", "failed to allocate Metal buffer", "ErrorOutOfDeviceMemory")),
    Form("onnxruntime", "gpu_oom", ("Failed to allocate memory for requested buffer of size",
                                    "CUDA failure 2: out of memory",
                                    "CUDA failure 2: out of memory ; GPU=",
                                    "is smaller than requested bytes of")),
    Form("opencl", "gpu_oom", ("Exceeded max size of memory object allocation", "CL_MEM_OBJECT_ALLOCATION_FAILURE",
                               "CL_OUT_OF_RESOURCES", "not enough GPU video memory available")),
    Form("library", "gpu_oom", (
        "cupy.cuda.memory.OutOfMemoryError", "Out of memory allocating <n> bytes", "Out of memory error on GPU <n>",
        "cudaMalloc retry failed: out of memory", "std::bad_alloc: out_of_memory: CUDA error",
        "out_of_memory: RMM failure",
        "cudaMalloc ... out of memory", "CUDA failed with error out of memory",
        "NVML_SUCCESS == r INTERNAL ASSERT FAILED", "DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED",
        "Requested amount of GPU memory (<n>", "could not be allocated. There may not be enough free memory")),
    Form("class_only", "gpu_oom", ("torch.cuda.OutOfMemoryError", "torch.OutOfMemoryError"), weak=True),
    Form("prose", "gpu_oom", ("GPU out of memory", "GPU ran out of memory", "ran out of GPU memory",
                              "out of GPU memory",
                              "cuda oom", "out of VRAM", "ran out of memory on your GPU", "GPU <n> runs full",
                              "GPU <n> gets full", "GPU memory ... an out of memory",
                              "GPU memory ... runs out of memory"), weak=True),
    Form("cpu_allocator", "cpu_oom", (
        "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory",
        "enforce fail at ... alloc",
        "$ Torch: not enough memory", "posix_memalign(", "Buy new RAM")),
    Form("numpy", "cpu_oom", ("Unable to allocate ... for an array with shape", "Unable to allocate array with shape",
                              "Unable to allocate ... for an array", "_ArrayMemoryError")),
    Form("mmap", "cpu_oom", ("unable to mmap <n> bytes", "Cannot allocate memory", "os error 12", "mmap failed: 12")),
    Form("paging_file", "cpu_oom", ("The paging file is too small", "WinError 1455", "os error 1455",
                                    "Not enough memory resources are available", "WinError 8]")),
    Form("cpu_buffer", "cpu_oom", ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate", "ArrowMemoryError",
                                   "failed to allocate CPU buffer", "ggml_aligned_malloc: insufficient memory",
                                   "memory allocation of <n> bytes failed", "std::bad_alloc",
                                   "failed to allocate CPU_")),
    Form("runner", "cpu_oom", ("requires more system memory",)),
    Form("prose", "cpu_oom", ("ran out of memory (", "runs out of memory when", "out of RAM", "ran out of RAM",
                              "out of CPU memory", "out of system memory"), weak=True),
    Form("signal", "killed", (
        "exitcode: -9", "exit code: -9", "exitcode -9", "exit code -9", "exit code 137", "exitCode: 137",
        "exit code: 137",
        "exited with code 137", "exit status 137", "return code -9", "return code = -9", "returncode=-9",
        "returncode: -9", "Signals.SIGKILL", "died with signal 9", "signal: 9", "(signal 9)", "signal: SIGKILL",
        "was sent SIGKILL", "SIGKILL (9)", "received signal 9", "is killed by signal: Killed", "with exit code 137",
        "Signal 9 (SIGKILL)", "terminated by signal SIGKILL", "zsh: killed", "state: OOMKilled", "OOMKilled",
        "exit code -9 (SIGKILL)", "code: 137", "code 137", "killed by SIGKILL", "exitcode : -9",
        "exited with -9", "exit status: 137", "SIGKILL(-9)", "signal: killed")),
    Form("kernel_log", "killed", ("Out of memory: Killed process", "Out of memory: Kill process", "oom-kill:constraint",
                                  "oom_reaper: reaped process", "Memory cgroup out of memory", "invoked oom-killer",
                                  "oom-kill event", "oom_kill event", "systemd-oomd killed", "task <n>: Out Of Memory",
                                  "low on resource: memory", "crashed after using all available RAM",
                                  "killed due to the node running low on memory", "Perhaps out of memory?",
                                  "tried to allocate more memory than is available",
                                  "ran out-of-memory and exited", "Exceeded job memory limit",
                                  "exceeded memory limit (", "TERM_MEMLIMIT", "PBS: job killed: mem",
                                  "Memory limit exceeded (<n>",
                                  "worker was terminated by the OOM")),
    Form("pinned", "host_pinned", (
        "of pinned memory", "in pin memory thread for device", "cudaHostAlloc", "cudaHostRegister", "cudaMallocHost",
        "hipHostMalloc", "page-locked", "could not allocate pinned host memory", "cuMemHostAlloc",
        "memory range is already mapped", "cudaErrorHostMemoryAlreadyRegistered",
        "Unable to pin memory", "failed to pin memory", "could not pin memory",
        "pin_memory(... CUDA error: invalid argument", "pin_memory=True ... CUDA error: invalid argument",
        "pin_memory(... CUDA error: out of memory", "pin_memory=True ... resource already mapped")),
    Form("engine_budget", "kv_cache_budget", (
        "No available memory for the cache blocks", "maximum number of tokens that can be stored in KV cache",
        "is larger than the maximum number of tokens that can be stored", "larger than the available KV cache memory",
        "less than desired GPU memory utilization", "To serve at least one request with the model",
        "increase --mem-fraction-static", "Not enough memory to handle", "Not enough memory for KV cache",
        "No enough gpu memory for runtime", "Insufficient VRAM in split for model and cache",
        "No available memory for KV cache", "no space left for the KV cache", "not enough memory for the KV cache",
        "Not enough memory. Please try to increase", "The memory capacity is unbalanced",
        "prefill tokens. You need to decrease",
        "Available memory for cache is", "Error in memory profiling", "free memory is not enough for kv cache",
        "maxTokensInPagedKvCache ... must be large", "Insufficient GPU memory error: The available",
        "Insufficient VRAM for model and cache", "Insufficient space in device allocations")),
    Form("dispatch", "quant_dispatch", (
        "Some modules are dispatched on the CPU or the disk", "with a device_map that contains a CPU or disk",
        "with a device_map that contains a cpu/disk", "does not support CPU or disk offload",
        "does not support CPU or disk in the device_map", "with a device_map that contains a disk device",
        "perform disk offload with a pre-quantized")),
    Form("library_handle", "alloc_failed_library", (
        "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_NOT_INITIALIZED", "CUSOLVER_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_NOT_INITIALIZED",
        "CUSPARSE_STATUS_ALLOC_FAILED", "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES", "CUFFT_ALLOC_FAILED",
        "HIPBLAS_STATUS_ALLOC_FAILED", "HIPBLAS_STATUS_NOT_INITIALIZED", "ROCBLAS_STATUS_MEMORY_ERROR",
        "CUBLAS initialization failed", "cuDNN failed to initialize", "failed to create cublas handle",
        "failed to create cudnn handle", "could not create cudnn handle", "Could not create cublas handle",
        "CuBLAS status not INITIALIZED", "Unable to find a valid cuDNN algorithm", "FIND was unable to find an engine",
        "No algorithm worked!", "miopenStatusAllocFailed", "cublas runtime error : resource allocation failed",
        "cublas runtime error : library not initialized", "DNN library initialization failed",
        "using StreamExecutor without BLAS support")),
    Form("nccl", "alloc_failed_library", ("NCCL WARN Cuda failure 'out of memory'",
                                          "NCCL WARN Cuda failure 2 'out of memory'",
                                          "Failed to CUDA calloc", "Failed to CUDA malloc",
                                          "Last error: Cuda failure 'out of memory'",
                                          "Last error: Cuda failure 2 'out of memory'")),
    Form("workspace", "alloc_failed_library", ("Buffer overflow when allocating memory for", "in AlignedAllocator",
                                               "workspace size ... is too small", "workspace buffer is too small")),
    Form("no_space", "disk_or_shm", (
        "No space left on device", "Disk quota exceeded", "not enough free disk space", "MB free disk space",
        "not enough space on the disk", "kind: StorageFull", "(os error 28)", "Not enough disk space",
        "磁盘空间不足", "设备上没有空间", "Es steht nicht genug Speicherplatz",
        "PytorchStreamWriter failed writing file", "not enough disk space")),
    Form("bus_error", "disk_or_shm", (
        "is killed by signal: Bus error", "Unexpected bus error encountered in worker", "out of shared memory",
        "unable to open shared memory object", "unable to allocate shared memory(shm)",
        "unable to write to file </torch_",
        "insufficient shared memory (shm)", "Error while creating shared memory segment /dev/shm",
        "unable to resize file <... to the right size", "Bus error (core dumped)", "Fatal Python error: Bus error",
        "died with signal 7", "exitcode: -7", "exit code 135",
        "Signal 7 (SIGBUS)", "Signals.SIGBUS")),
)  # fmt: skip
