"""Figures of memory in and around the decisive message, in bytes unless the name says otherwise.

Sources of the forms: format strings of c10/cuda/CUDACachingAllocator.cpp from PyTorch 0.4 to 2.9, CUDAMallocAsync,
MPSAllocator, XPUCachingAllocator, c10/core/CPUAllocator, TensorFlow's BFC allocator, XLA, ggml, vLLM, TGI, NumPy.
"""

import re
from collections.abc import Iterator, Mapping

from advisor.patterns import when_used
from advisor.reading.messages import Said
from advisor.reading.quantities import AMOUNT, NO_LIMIT, in_bytes, number, shape_bytes

Figures = Mapping[str, int | float]
_Found = Iterator[tuple[str, int | float]]

AHEAD = 1600
"""Characters (squeezed) after the message in which its figures may stand; the longest form has about 700."""
BEHIND = 400
_REACH = 300
LOG = 20_000
"""Characters (squeezed) of TensorFlow's list of chunks, between its pool's complaint and the exception."""
_POOL, _HARMLESS = "ranoutofmemorytryingtoallocate", "isnotafailure"
_WRITTEN_BY_TORCH = ("torch", "torch_block", "torch_bare", "mps", "mps_buffer", "class_only")

# PyTorch, all devices. A name may stand in several forms; the first that is found counts.
_TORCH = (
    ("requested_bytes", "triedtoallocate", rf"triedtoallocate{AMOUNT}"),
    ("requested_bytes", "requested", rf"requested:{AMOUNT}"),
    ("requested_bytes", "invalidbuffersize", rf"invalidbuffersize:{AMOUNT}"),
    ("total_bytes", "totalcapacity", rf"{AMOUNT}totalcapacity"),
    ("total_bytes", "totalcapac", rf"totalcapaci?ty?of{AMOUNT}"),
    ("total_bytes", "devicelimit", rf"devicelimit:{AMOUNT}"),
    ("free_bytes", "ofwhich", rf"ofwhich{AMOUNT}isfree"),
    ("free_bytes", "alreadyallocated", rf"alreadyallocated;{AMOUNT}free"),
    ("free_bytes", "accordingtocuda", rf"free\(accordingtocuda\):{AMOUNT}"),
    ("free_bytes", "currentactive", rf"currentactive;{AMOUNT}free"),
    ("allocated_bytes", "alreadyallocated", rf"{AMOUNT}alreadyallocated"),
    ("allocated_bytes", "isallocatedbypytorch", rf"{AMOUNT}isallocatedbypytorch"),
    ("allocated_bytes", "allocatedbypytorch", rf"{AMOUNT}allocatedbypytorch"),
    ("allocated_bytes", "oftheallocatedmemory", rf"oftheallocatedmemory{AMOUNT}"),
    ("allocated_bytes", "currentlyallocated", rf"currentlyallocated:{AMOUNT}"),
    ("allocated_bytes", "allocated", rf"(?:mps|accelerator)allocated:{AMOUNT}"),
    ("reserved_bytes", "reservedintotalbypytorch", rf"{AMOUNT}reservedintotalbypytorch"),
    ("cached_unused_bytes", "cached", rf"free;{AMOUNT}cached\)"),
    ("reserved_unallocated_bytes", "isreservedbypytorchbutunallocated", rf"{AMOUNT}isreservedbypytorchbutunallocated"),
    ("process_bytes", "thisprocesshas", rf"thisprocesshas{AMOUNT}memoryinuse"),
    ("private_pool_bytes", "allocatedinprivatepools", rf"with{AMOUNT}allocatedinprivatepools"),
    ("limit_bytes", "allowed", rf"{AMOUNT}allowed;"),
    ("limit_bytes", "maxallowed", rf"maxallowed:{AMOUNT}"),
    ("limit_bytes", "blockwithsizelargerthan", rf"blockwithsizelargerthan{AMOUNT}"),
    ("limit_bytes", "memoryfraction", rf"memoryfraction\):{AMOUNT}"),
    ("other_allocations_bytes", "otherallocations", rf"otherallocations:{AMOUNT}"),
)
# Everything else: these forms count GB as 10^9.
_OTHERS = (
    ("requested_bytes", "failedtoallocaterequestfor", rf"failedtoallocaterequestfor[^(]{{1,30}}\({AMOUNT}\)"),
    ("requested_bytes",
    "", rf"(?:tryingtoallocate|attemptingtoallocate|triedtoallocate|outofmemoryallocating|unabletommap"
                        rf"|memoryallocationof|allocationofsize|tryingtoreserve|attemptingtoreserve){AMOUNT}"),
    ("requested_bytes", "", r"(?:bufferofsize|allocationofsize|mallocofsize|requestedbufferofsize)(\d{1,20})()"),
    ("requested_bytes", "unabletoallocate", rf"unabletoallocate{AMOUNT}"),
    ("requested_bytes", "", rf"(?:failedtoallocate|requestedamountofgpumemory\(|allocating|cannotallocate){AMOUNT}"),
    ("requested_bytes", "attemptingtoallocate", r"attemptingtoallocate([\d.]{1,20})([gmk])"),
    ("requested_bytes", "andalignment", r"withsize(\d{1,20})()andalignment"),
    ("requested_bytes", "failedtocuda", rf"failedtocuda(?:host)?[cm]?alloc(?:async)?{AMOUNT}"),
    ("requested_bytes", "requestedbytes", r"requestedbytesof(\d{1,20})()"),
    ("requested_bytes", "memoryobject", rf"memoryobjectallocation:?requested{AMOUNT}"),
    ("requested_bytes", "couldnotallocate", rf"couldnotallocatetensorwith{AMOUNT}"),
    ("requested_bytes", "requiresmoresystemmemory", rf"requiresmoresystemmemory\({AMOUNT}\)"),
    ("free_bytes", "bytesfree", r"(?<!\d)(\d{1,20})()bytesfree"),
    ("total_bytes", "bytestotal", r"(?<!\d)(\d{1,20})()bytestotal"),
    ("free_bytes", "isavailable", rf"thanisavailable\({AMOUNT}\)"),
    ("free_bytes", "availablememory", rf"availablememory(?:isonly|of){AMOUNT}"),
    ("free_bytes", "availablememoryof", r"availablememoryof(\d{1,20})()issmaller"),
    ("allocated_bytes", "hasbeenallocated", rf"{AMOUNT}memoryhasbeenallocated"),
    ("allocated_bytes", "allocatedsofar", rf"allocatedsofar:{AMOUNT}"),
    ("limit_bytes", "limitsetto", rf"limitsetto:{AMOUNT}"),
    ("limit_bytes", "maxallocsize", rf"maxallocsizesupportedbydeviceis{AMOUNT}"),
    ("free_bytes", "thereare", r"thereare([\d.]{1,20})([gmk])free"),
    ("free_bytes", "freediskspace", rf"onlyhas{AMOUNT}freediskspace"),
    ("limit_bytes", "maximumallowedbuffersizeof", rf"maximumallowedbuffersizeof{AMOUNT}"),
)  # fmt: skip
# What serving engines count, anywhere in the text.
_ENGINE = (
    ("kv_needed_bytes", "kvcacheisneeded", rf"\({AMOUNT}kvcacheisneeded"),
    ("kv_needed_bytes", "isneeded", rf"{AMOUNT}(?:of)?kvcache(?:memory)?isneeded"),
    ("kv_available_bytes", "availablekvcachememory", rf"availablekvcachememory\({AMOUNT}\)"),
    ("desired_bytes", "desiredgpumemoryutilization", rf"desiredgpumemoryutilization\([\d.]{{1,10}},{AMOUNT}\)"),
    ("total_bytes", "total_gpu_memory", rf"total_gpu_memory[(=]{AMOUNT}"),
    ("model_weights_bytes", "modelloadingtook", rf"modelloadingtook{AMOUNT}"),
    ("model_weights_bytes", "loadingmodelweightstook", rf"loadingmodelweightstook{AMOUNT}"),
    ("model_weights_bytes", "modelweightstake", rf"modelweightstake{AMOUNT}"),
    ("installed_bytes", "vram", r"vram:(\d{3,8})(m)0x"),
    ("installed_bytes", "-smi", rf"-smi(?:shows|says|reports|gives|sees|lists){AMOUNT}(?!used|inuse|free|of|on|for|/)"),
    (
        "installed_bytes",
        "bios",
        rf"bios(?:gives|sets|assigns|reserves|dedicates|has){AMOUNT}(?:to|for)the(?:i?gpu|graphics|vram)",
    ),
    ("installed_bytes", "bios", rf"bios.{{0,40}}?(?<![\d.]){AMOUNT}(?!ram|system)"),
    ("installed_bytes", "uma", rf"uma(?:frame)?(?:buffer)?(?:size)?(?:of|is|=|:|at|setto){AMOUNT}"),
    ("installed_bytes", "showmeminfo", r"showmeminfovram\W{0,4}(\d{9,13})()"),
    ("allocated_bytes", "inuse:", r"limit:\d{1,20}inuse:(\d{1,20})()"),
)
_COUNTS = (
    ("max_seq_len", "maxseqlen", r"maxseqlen\((\d{1,12})\)"),
    ("max_seq_len", "maximumsequencelength", r"maximumsequencelength\((\d{1,12})\)"),
    ("kv_cache_tokens", "storedinkvcache", r"storedinkvcache\((\d{1,12})\)"),
    ("estimated_max_len", "estimatedmaximummodellengthis", r"estimatedmaximummodellengthis(\d{1,12})"),
    ("gpu_blocks", "#gpublocks", r"#gpublocks:(\d{1,12})"),
    ("prefill_tokens", "prefilltokens", r"(?:handle|with)(\d{1,12})prefilltokens"),
    ("total_tokens", "totaltokens", r"handle(\d{1,12})totaltokens"),
)
_UTILIZATION = (
    r"desiredgpumemoryutilization\((0?\.\d{1,6}|1(?:\.0*)?),",
    r"gpu[-_]memory[-_]utilization\)?[=:,)]{0,3}(?:default=)?(0?\.\d{1,6}|1\.0|1(?![\d.]))",
    r"mem[-_]fraction[-_]static[=:]{0,2}(0?\.\d{1,6})",
)
_DEVICE_FREE = when_used(r"freememoryondevice(?:cuda:(\d{1,3}))?\(([\d.]{1,12})/([\d.]{1,12})(gib|gb)\)")
_DEVICES = (
    ("(gpu", r"\(gpu(\d{1,3});"), ("hasatotalcapac", r"gpu(\d{1,3})hasatotalcapac"),
    ("allocationondevice", r"allocationondevice(\d{1,3})"), ("/device:gpu:", r"/device:gpu:(\d{1,3})"),
    ("ondeviceordinal", r"ondeviceordinal(\d{1,3})"), ("mibondevice", r"mibondevice(\d{1,3}):"),
    ("failedtoallocate", r"failedtoallocate(?:cuda|rocm|vulkan)(\d{1,3})buffer"), ("gpu=", r"gpu=(\d{1,3});"),
    ("ncclwarn", r"\[(\d{1,3})\][\w/.]{1,40}:\d{1,6}ncclwarn"),
    ("outofmemoryerrorongpu", r"outofmemoryerrorongpu(\d{1,3})"), ("forcuda", r"forcuda(?:device)?(\d{1,3})"),
)  # fmt: skip
_OTHER_PROCESS = when_used(rf"process\d{{1,10}}has{AMOUNT}memoryinuse")
_SHAPE = when_used(r"shape\[([\d,]{0,120})\](?:andtype(\w{1,12}?)(?:on|\W|$))?")
_ARRAY = when_used(r"withshape\(([\d,]{1,120})\)anddatatype([a-z]{1,9}(?:\d{1,3})?)")


def figures(squeezed: str, said: Said) -> dict[str, int | float]:
    """Every figure that the text gives. What it does not give is not in the result."""
    ahead = squeezed[said.start : said.end + AHEAD]
    near = squeezed[max(0, said.start - BEHIND) : said.end + AHEAD]
    of_torch = said.form.name in _WRITTEN_BY_TORCH
    found: dict[str, int | float] = {}
    if of_torch:
        _take(found, _amounts(_TORCH, ahead, True, found))
    _take(found, _amounts(_OTHERS, ahead if of_torch else near, of_torch, found))
    _take(found, _amounts(_ENGINE, squeezed, False, found))
    _take(found, _counts(squeezed))
    _take(found, _free_of_engine(squeezed))
    _take(found, _of_kernel(ahead))
    _take(found, _device(ahead))
    if "device_index" not in found:
        _take(found, _device(near))
    if listed := listed_processes(squeezed, said):
        found["other_process_bytes"] = sum(listed)
    if said.form.name == "tensorflow":
        _take(found, _of_pool(squeezed[max(0, said.start - LOG) : said.start]))
    _take(found, _tensor(near))
    if found.get("limit_bytes", 0) >= NO_LIMIT:
        del found["limit_bytes"]
    return found


def _take(found: dict[str, int | float], more: _Found) -> None:
    for name, value in more:
        found.setdefault(name, value)


def _around(guard: str, text: str) -> str | None:
    """What stands around the last place of a word that a figure never lacks; None where the word is missing. Without a
    word it is all."""
    if not guard or len(text) <= BEHIND + AHEAD:
        return text if guard in text else None
    at = text.rfind(guard)
    return text[max(0, at - _REACH) : at + len(guard) + _REACH] if at >= 0 else None


def _amounts(forms: tuple[tuple[str, str, str], ...], text: str, torch_units: bool, known: Figures) -> _Found:
    for name, guard, pattern in forms:
        # The first that is found counts: what is known already is not looked for.
        part = None if name in known else _around(guard, text)
        match = re.search(pattern, part) if part else None
        value = in_bytes(match[1], match[2], torch_units) if match else None
        if value is not None:
            yield name, value


def _counts(text: str) -> _Found:
    for name, guard, pattern in _COUNTS:
        part = _around(guard, text)
        if part and (match := re.search(pattern, part)):
            yield name, int(match[1])
    for pattern in _UTILIZATION if "utilization" in text or "fraction" in text else ():
        if (match := re.search(pattern, text)) and (value := number(match[1])) is not None:
            yield "utilization", value


def _device(text: str) -> _Found:
    matches = (re.search(pattern, text) for word, pattern in _DEVICES if word in text)
    yield from (("device_index", int(match[1])) for match in matches if match)


def _free_of_engine(text: str) -> _Found:
    if match := _DEVICE_FREE.search(text):
        index, free, total, unit = match.groups()
        for name, value in (("free_bytes", free), ("total_bytes", total)):
            size = in_bytes(value, unit)
            if size is not None:
                yield name, size
        if index:
            yield "device_index", int(index)


def _of_kernel(text: str) -> _Found:
    """What the process held that the kernel ended: its log counts in units of 1024 bytes and calls them kB."""
    if match := re.search(r"kille?d?process.{1,200}?anon-rss:(\d{1,12})kb", text):
        yield "killed_bytes", int(match[1]) * 1024


def _of_pool(log: str) -> _Found:
    """What TensorFlow's pool was asked for by its last complaint before the exception."""
    asked = log[max(0, log.rfind(_POOL)) :][:_REACH]
    if (match := re.match(rf"{_POOL}{AMOUNT}", asked)) and _HARMLESS not in asked:
        size = in_bytes(match[1], match[2])
        yield from [] if size is None else [("requested_bytes", size)]


def _tensor(text: str) -> _Found:
    """A size that follows from a shape and an element type."""
    for pattern in (_SHAPE, _ARRAY):
        match = pattern.search(text)
        if match and match[2] and (size := shape_bytes(match[1], match[2])) is not None:
            yield "requested_bytes", size


def listed_processes(squeezed: str, said: Said) -> list[int]:
    """What the message lists for each numbered process, in bytes."""
    text = squeezed[said.start : said.end + AHEAD]
    sizes = [in_bytes(match[1], match[2], True) for match in _OTHER_PROCESS.finditer(text)]
    return [size for size in sizes if size is not None]


def last_shape(squeezed: str, said: Said) -> tuple[int, ...]:
    """The shape of the tensor that TensorFlow could not allocate; empty where none is told."""
    match = _SHAPE.search(squeezed, said.start, said.end + AHEAD)
    return tuple(int(part) for part in match[1].split(",") if part) if match else ()
