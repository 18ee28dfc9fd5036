"""Raises real errors of the installed libraries, one in a child process each, and prints what they said as JSON lines.

    python tests/errors/provoke.py [NAME ...] > texts.jsonl

Every program is self-contained and runs on a CPU without network. `tests/errors/provoked.jsonl` keeps the texts, so
that the tests need not raise all of them again. A program that raises nothing here (another version, another machine)
is left out.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

LIMIT_SECONDS = 90
TAIL = 6_000

TINY = """
import os
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import LlamaConfig, LlamaForCausalLM
def tiny(**changes):
    sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, vocab_size=128, max_position_embeddings=128)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).eval()
ids = torch.ones(1, 8, dtype=torch.long)
"""
SAVED = TINY + "import tempfile\nfolder = tempfile.mkdtemp()\ntiny().save_pretrained(folder)\n"
LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))\n"

PROGRAMS: dict[str, tuple[str, str]] = {
    "wrong-attention": ("attn_implementation_invalid_name",
        SAVED + "LlamaForCausalLM.from_pretrained(folder, attn_implementation='flash_attn2')"),
    "flash-2-absent": ("flash_attn_not_installed",
        SAVED + "LlamaForCausalLM.from_pretrained(folder, attn_implementation='flash_attention_2', dtype='float16')"),
    "paged-outside": ("paged_attention_outside_cb",
        TINY + "m = tiny()\nm.set_attn_implementation('paged|eager')\nm(ids)"),
    "mat-dtypes": ("mat_dtype_mismatch",
        "import torch\ntorch.nn.Linear(4, 4)(torch.ones(1, 4, dtype=torch.bfloat16))"),
    "sdpa-dtypes": ("half_float_mismatch",
        "import torch\nq = torch.ones(1, 2, 4, 8)\n"
        "torch.nn.functional.scaled_dot_product_attention(q, q.half(), q.half())"),
    "conv-dtypes": ("half_float_mismatch",
        "import torch\ntorch.nn.Conv1d(4, 4, 1)(torch.ones(1, 4, 4, dtype=torch.bfloat16))"),
    "meta-to": ("meta_tensor_copy", TINY + "with torch.device('meta'):\n    m = tiny()\nm.to('cpu')"),
    "meta-item": ("meta_tensor_copy", "import torch\ntorch.ones(1, device='meta').item()"),
    "cuda-absent": ("torch_cpu_build", "import torch\ntorch.ones(1).cuda()"),
    "cuda-checkpoint": ("torch_cpu_build",
        "import io, torch\nfrom torch.serialization import validate_cuda_device\nvalidate_cuda_device('cuda:0')"),
    "output-attentions": ("sdpa_no_output_attentions",
        TINY + "m = tiny(attn_implementation='sdpa')\nm(ids, output_attentions=True)"),
    "offload-move": ("move_offloaded_model",
        TINY + "from accelerate import cpu_offload, dispatch_model\nm = tiny()\n"
        "m = dispatch_model(m, {'model': 'disk', 'lm_head': 'cpu'}, main_device='cpu', offload_dir='.')\nm.to('cpu')"),
    "offload-folder": ("disk_offload_needs_folder",
        TINY + "from accelerate import dispatch_model\n"
        "dispatch_model(tiny(), {'model': 'disk', 'lm_head': 'cpu'}, main_device='cpu')"),
    "meta-value": ("meta_tensor_copy",
        "import torch\nfrom accelerate.utils import set_module_tensor_to_device\nwith torch.device('meta'):\n"
        "    m = torch.nn.Linear(2, 2)\nset_module_tensor_to_device(m, 'weight', 'cpu')"),
    "kbit-argument": ("load_in_kbit_removed", SAVED + "LlamaForCausalLM.from_pretrained(folder, load_in_4bit=True)"),
    "awq-absent": ("awq_backend_missing",
        SAVED + "from transformers import AwqConfig\nimport json, os\np = os.path.join(folder, 'config.json')\n"
        "c = json.load(open(p))\nc['quantization_config'] = {'quant_method': 'awq', 'bits': 4}\n"
        "json.dump(c, open(p, 'w'))\nLlamaForCausalLM.from_pretrained(folder)"),
    "gptq-absent": ("gptq_backend_missing",
        SAVED + "import json, os\np = os.path.join(folder, 'config.json')\nc = json.load(open(p))\n"
        "c['quantization_config'] = {'quant_method': 'gptq', 'bits': 4}\njson.dump(c, open(p, 'w'))\n"
        "LlamaForCausalLM.from_pretrained(folder)"),
    "fp8-no-gpu": ("fp8_needs_cc89|",
        SAVED + "from transformers import FineGrainedFP8Config\n"
        "LlamaForCausalLM.from_pretrained(folder, quantization_config=FineGrainedFP8Config())"),
    "quanto-absent": ("quantized_cache_backend_version",
        TINY + "tiny().generate(ids, max_new_tokens=4, cache_implementation='quantized')"),
    "no-compiler": ("no_cxx_compiler",
        "import os\nos.environ['CXX'] = '/nowhere/g++'\nos.environ['PATH'] = ''\nimport torch\n"
        "torch._inductor.config.force_disable_caches = True\n"
        "torch.compile(lambda x: torch.sin(x) + torch.cos(x) * 3)(torch.ones(77))"),
    "recompiles": ("recompile_limit",
        "import torch\nf = torch.compile(lambda x, n: x * n, backend='eager', dynamic=False)\n"
        "for n in range(12):\n    f(torch.ones(n + 2), float(n))"),
    "recompiles-full": ("recompile_limit",
        "import torch\nf = torch.compile(lambda x: x * 2, backend='eager', dynamic=False, fullgraph=True)\n"
        "for n in range(12):\n    f(torch.ones(n + 2))"),
    "rank-missing": ("not_launched_with_torchrun",
        "import torch.distributed as dist\ndist.init_process_group('gloo')"),
    "no-group": ("not_launched_with_torchrun", "import torch.distributed as dist\ndist.get_rank()"),
    "weights-only": ("torch_load_weights_only_default",
        "import io, torch\nb = io.BytesIO()\nclass Own: pass\ntorch.save(Own(), b)\nb.seek(0)\ntorch.load(b)"),
    "nan-sampling": ("nan_inf_sampling_fp16", "import torch\ntorch.multinomial(torch.tensor([float('nan'), 1.0]), 1)"),
    "cpu-allocator": ("host_ram", LIMITED.format(4 << 30) + "import torch\ntorch.empty(2 << 30, dtype=torch.float32)"),
    "cpu-allocator-huge": ("single_request_exceeds_ram", "import torch\ntorch.empty(1 << 42, dtype=torch.float32)"),
    "numpy": ("single_request_exceeds_ram", "import numpy\nnumpy.zeros((1 << 20, 1 << 20))"),
    "python-memory": ("host_ram", LIMITED.format(1 << 30) + "x = bytearray(3 << 30)"),
    "safetensors-mmap": ("host_ram",
        "import os, json, struct, tempfile, resource\npath = os.path.join(tempfile.mkdtemp(), 'm.safetensors')\n"
        "size = 4 << 30\nh = json.dumps({'a': {'dtype': 'U8', 'shape': [size], 'data_offsets': [0, size]}}).encode()\n"
        "f = open(path, 'wb')\nf.write(struct.pack('<Q', len(h)) + h)\nf.truncate(8 + len(h) + size)\nf.close()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\nfrom safetensors import safe_open\n"
        "safe_open(path, framework='numpy')"),
    "killed": ("host_ram", "import os, signal, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)'], check=True)"),
    "disk-full": ("disk_full", "open('/dev/full', 'w', buffering=1).write('x\\n')"),
    "bus-error": ("mmap_file_error",
        "import faulthandler, mmap, os, tempfile\nfaulthandler.enable()\nf = tempfile.TemporaryFile()\n"
        "f.truncate(8192)\n"
        "m = mmap.mmap(f.fileno(), 8192)\nf.truncate(0)\nm[5000]"),
    "assisted-batch": ("assisted_batch_size_gt_1",
        TINY + "tiny().generate(ids.repeat(2, 1), prompt_lookup_num_tokens=2, max_new_tokens=4, do_sample=False)"),
    "blocks": ("", TINY + "from transformers import ContinuousBatchingConfig\n"
        "tiny().generate_batch([[1, 2, 3]], continuous_batching_config=ContinuousBatchingConfig(num_blocks=1))"),
    "remote-name": ("remote_code_transformers_mismatch",
        "from transformers.utils.import_utils import is_torch_fx_available"),
    "flash-module": ("flash_attn_not_installed", "from flash_attn import flash_attn_func"),
    "trust-remote": ("", SAVED + "import json, os\np = os.path.join(folder, 'config.json')\nc = json.load(open(p))\n"
        "c['auto_map'] = {'AutoConfig': 'x.Y'}\nc['model_type'] = 'nobody'\njson.dump(c, open(p, 'w'))\n"
        "from transformers import AutoConfig\nAutoConfig.from_pretrained(folder)"),
    "embedding-index": ("", TINY + "tiny()(ids + 500)"),
    "right-padding": ("right_padding_decoder_only",
        TINY + "m = tiny(pad_token_id=0)\nm.generate(torch.tensor([[5, 6, 0, 0], [5, 6, 7, 8]]), max_new_tokens=2)"),
    "checkpointing-cache": ("use_cache_gradient_checkpointing",
        TINY + "m = tiny().train()\nm.gradient_checkpointing_enable()\nm(ids, use_cache=True, labels=ids)"),
    "generate-compiled": ("dynamo_unsupported_generate",
        TINY + "torch.compile(tiny().generate, fullgraph=True, backend='eager')(ids, max_new_tokens=2)"),
    "sdpa-3d": ("sdpa_input_not_4d", "import torch\nq = torch.ones(2, 4, 8)\n"
        "with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):\n"
        "    torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=torch.ones(4, 4))"),
    "sdpa-restricted": ("sdpa_backend_restricted|sdpa_flash_backend_unsupported_gpu",
        "import torch\nq = torch.ones(1, 2, 4, 8)\n"
        "with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION):\n"
        "    torch.nn.functional.scaled_dot_product_attention(q, q, q)"),
    "build-variant": ("hub_kernel_no_build_variant",
        "import pathlib, tempfile\nfrom kernels import get_local_kernel\nfolder = pathlib.Path(tempfile.mkdtemp())\n"
        "(folder / 'build' / 'torch29-cxx11-cu128-x86_64-linux').mkdir(parents=True)\nget_local_kernel(folder)"),
}  # fmt: skip
"""Name: the cause that explains it (several with `|`; empty: none of the list, nothing need be named), program."""


def said(program: str) -> str | None:
    """The end of what the program printed on stderr, without this machine's folders; None where it ended well and
    said nothing."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "PYTHONPATH"):
        environment.pop(name, None)
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, errors="replace",
                              timeout=LIMIT_SECONDS, env=environment, stdin=subprocess.DEVNULL)  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    text = done.stderr[-TAIL:].replace(sys.prefix, "/env").replace(sys.base_prefix, "/usr")
    return text if text.strip() else None


def provoke(names: list[str]) -> Iterator[dict[str, str]]:
    for name in names or PROGRAMS:
        cause, program = PROGRAMS[name]
        text = said(program)
        if text is not None:
            yield {"name": name, "cause": cause, "text": text}


if __name__ == "__main__":
    for found in provoke(sys.argv[1:]):
        print(json.dumps(found), flush=True)
