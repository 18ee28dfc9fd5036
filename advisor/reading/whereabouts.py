"""Addresses, names of machines and people, and home folders: they tell whose machine it was and help nobody."""

import re
from collections.abc import Callable

from advisor.patterns import when_used

HIDDEN = "***"
Step = tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""Words of which one stands in whatever the pattern finds, the pattern, and what is put in its place."""

_FOUR = r"(?:\d{1,3}\.){3}\d{1,3}"
_IPV4 = when_used(rf"(\b(?:[\w+-]{{2,40}}[ :=-]{{1,3}}|[=<>~!]=\s?|\bv))?(?<![\d.])({_FOUR})(?![\d]|\.\d)(:\d{{1,5}})?")
_RELEASES = re.compile(
    r"[=<>~!]=|^v|version|release|driver|cuda|cudnn|cublas|nccl|rocm|torch|tensorrt|onnx|nvidia|toolkit|firmware|cu\d|lib|hip"
    r"|triton|flash|runtime",
    re.IGNORECASE,
)
"""Words before four numbers that make them a version."""
_IPV6 = when_used(
    r"(?<![\w:.])(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?"
    r"|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|::(?:ffff:)?[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){1,6})(?:%\w{1,16})?(?![\w:]|\.\w)",
    re.IGNORECASE,
)
_MAC = when_used(r"(?<![\w:-])[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4,18}(?![\w:-])", re.IGNORECASE)
_UUID = when_used(r"\b(?:(?:GPU|MIG)-)?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_MAIL = when_used(r"[\w.+-]{1,64}(?<!\.git)@(?!v?\d{1,4}\.\d)[\w-]{1,63}(?:\.[\w-]{1,63}){0,3}\.[\w-]{2,63}(?![\w(-])")
_PROMPT = when_used(
    r"\b[\w.-]{1,32}@[\w-]{1,63}(?=:[~/]| [~/$#]|[$#])"
    r"|\b[\w.-]{2,32}@\d{1,3}(?:\.\d{1,3}){3}|\b[\w.-]{2,32}@(?!v\d{1,4}\b|[0-9a-f]{7,40}\b)(?=[\w-]{0,60}[\d-])[A-Za-z][\w-]{1,63}\b"
)

_KNOWN = (
    "huggingface.co", "hf.co", "github.com", "github.io", "githubusercontent.com", "pytorch.org", "python.org",
    "nvidia.com", "google.com", "google.dev", "goo.gl", "stackoverflow.com", "readthedocs.io", "readthedocs.org",
    "microsoft.com", "aka.ms", "amd.com", "intel.com", "apple.com", "tensorflow.org", "pypi.org", "pythonhosted.org",
    "anaconda.com", "anaconda.org", "conda.io", "wandb.ai", "vllm.ai", "ray.io", "arxiv.org", "llvm.org", "kernel.org",
    "colab.research.google.com", "kaggle.com", "deepspeed.ai", "lightning.ai", "openxla.org", "onnxruntime.ai",
    "nist.gov", "pydantic.dev", "flashinfer.ai", "docker.io", "docker.com", "ghcr.io", "modelscope.cn", "gitlab.com",
    "conda-forge.org", "openai.com", "ubuntu.com", "debian.org",
)  # fmt: skip
"""Sites that error messages point to."""
_URL = when_used(
    r"(\b[a-z][a-z0-9+.-]{1,20}://(?:\*\*\*@)?)([^\s/?#\"'<>()]{1,253})"
    r"([^\s?#\"'<>()]{0,2000})(\?[^\s\"'<>()]{0,4000})?",
    re.IGNORECASE,
)
_SURE = r"com|org|edu|gov|mil|internal|intranet|lan|corp|localdomain|svc|de|fr|uk|cn|jp|ru|kr|ch|nl|eu|au|br"
_MAYBE = (
    r"net|local|io|ai|dev|app|home|private|cluster|cloud|site|online|tech|info|co|me|us|ca|se|es|it|pl|at|be|dk|fi|no"
    r"|cz|in|il|sg|hk|tw|tr|ir|ua|za|mx"
)
_DOMAIN = when_used(rf"(?<![\w./@\\-])(?:[A-Za-z0-9][\w-]{{0,62}}\.){{1,6}}(?:({_SURE})|{_MAYBE})(?![\w(=\[-]|\.\w)")
_KEYED_HOST = when_used(
    r"(\b(?:host(?:[-_ ]?names?)?|node(?:[-_ ]?(?:name|list))?|nodes|server|master[-_]?addr(?:ess)?|addr(?:ess)?|peer"
    r"|endpoint|remote|pod|machine[-_ ]?name|slurm\w{0,20}(?:node\w{0,12}|host))[\"']?(?:(\s{0,12}[=:]\s{0,2})[\"'\[]?"
    r"|\s{1,2}[\"'\[]?))([A-Za-z0-9][\w.-]{1,100}(?:\[[\d,-]{1,100}\])?)(?![\w.-]*/)",
    re.IGNORECASE,
)
_NO_HOST = when_used(
    r"(?:v?\d[\d.,]{0,20}(?:\s?[kmgt]i?b|m?s|%)?|0x[0-9a-f]+|localhost|none|null|true|false|cpu|cuda|gpu|memory|ram|out"
    r"|rank|connection|\w{1,12}(?:error|warning|exception))$",
    re.IGNORECASE,
)
_BRACKETED = when_used(r"\[(?=[^\]\s]{0,100}[A-Za-z])[\w.:-]{2,100}\](?=:\d{2,5}\b)")
_NODE = when_used(
    r"(?<![\w./-])(?:(?:ip|ec2)(?:-\d{1,3}){4}|(?:[a-z][a-z0-9]{0,30}-){0,4}(?:node|dgx|compute|nid|srv|login|worker|head)"
    r"(?:-[a-z0-9]{1,20}){0,3}-?\d{1,6})(?![\w.(-])",
    re.IGNORECASE,
)
_AT_PORT = when_used(r"(?<![\w./-])[A-Za-z]\w{0,30}(?:-\w{1,30}){1,6}(?=:\d{4,5}\b)")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_TOLD_HOST = when_used(
    r"(?<=addresses of \()[\w.-]{1,100}|(?<= ON )\S{1,100}(?= CANCELLED)"
    r"|(?<![\w.-])[A-Za-z][\w.-]{0,100}(?=:\d{1,8}:\d{1,8} \[\d{1,3}\] )"
)
"""Where torch, Slurm and NCCL name a machine."""
_SYSLOG = when_used(
    rf"((?:^|\n)(?:(?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.+:Z-]{0,20}) )"
    r"(?!(?:TRACE|DEBUG|INFO|WARN|ERR|CRIT|FATAL))([A-Za-z][\w.-]{1,80})(?= [\w./-]{1,40}(?:\[\d{1,9}\])?: )"
)
_USER = when_used(
    r"((?<![\w.])(?:user(?:[-_ ]?name| id)?|uid|login|logname|e-?mail|account|owner)"
    r"[\"']?(?:\s{0,2}[=:]\s{0,2}[\"']?|\s{1,2}[\"']))"
    r"([A-Za-z][^\s\"',;)\]}]{0,80})"
    r"|((?<!\S)--?user(?:[-_]?name)?\s{1,2}|\b(?:logged|signed) in as:?\s{1,2}|\bwhoami:?\s{1,2}|\b[ug]id=\d{1,9}\()"
    r"([^\s\"')]{1,80}(?:\s\([^()\s]{1,80}\))?)",
    re.IGNORECASE,
)

_NAME = r"[^\\/\s\"':,;)\]}>|]{1,80}"
_WINDOWS = r"(?:[A-Za-z]:|/mnt/[a-z]|\\{1,2}\?)?[\\/]{1,2}(?:Users|Documents and Settings)[\\/]{1,2}"
_WINDOWS_HOME = when_used(rf"(?<!\w){_WINDOWS}(?:[^\\/\n\"':;<>|]{{1,60}}(?=[\\/])|{_NAME})", re.IGNORECASE)
"""A name with spaces reaches to the next separator; without one, its first word is taken."""
_HOME = when_used(
    rf"(?:(?<![\w.*])(?:/[\w.-]{{1,40}}){{0,4}}|(?<=\w:))/(?:home\d?|homes|users?|people|accounts|students?|staff)/{_NAME}",
    re.IGNORECASE,
)
_ROOT = when_used(r"(?<![\w.*/-])/root(?=[/\s\"',:;)]|$)")
_TILDE = when_used(r"(?<![\w~/.*])~[A-Za-z][\w.-]{0,31}(?=[\\/\s\"']|$)")
_FOLDERS = (
    r"shared?|common|public|c10|aten|torch|pytorch|src|code|conda|envs?|venvs?|data|datasets?|models?|weights|checkpoints?"
    r"|ckpts?|tokens|tokenized|tokenizers?|train(?:ing)?|tests?|val(?:id(?:ation)?)?|eval|raw|processed|corpora|corpus|texts?"
    r"|images?|cache|\.cache|hub|hf|huggingface|transformers|outputs?|results|logs|runs|experiments|tmp|temp|bin|lib|opt"
    r"|jobs|scripts|llms?|vllm|c4|wikipedia|imagenet|projects?|scratch|home|users?|nvme\d?|ssd\d?|disk\d?"
)
"""Folders on a shared disk that are nobody's name."""
_OWN_SHARE = when_used(
    rf"((?<![\w.*~])/(?:mnt/|data/)?(?:scratch|gscratch|netscratch|projects?|proj|lustre|gpfs|beegfs|nfs|fsx|u|nas|work"
    rf"|data|storage|cluster)/)"
    rf"(?!(?:{_FOLDERS})/|\*\*\*){_NAME}(?=/)",
    re.IGNORECASE,
)
_SHARE = when_used(r"(?<![\\:\w])\\{2,4}[A-Za-z][\w.-]{0,62}(?:\\{1,2}[^\\\s\"'<>|,;)]{1,80}){1,30}")


def _mask_four(found: re.Match[str]) -> str:
    """Four numbers behind a version's word are a version; the own machine is no secret."""
    before, numbers = found[1] or "", found[2]
    if (before and _RELEASES.search(before)) or numbers in _OWN:
        return found[0]
    if any(int(part) > 255 for part in numbers.split(".")):
        return found[0]
    return f"{before}{HIDDEN}{found[3] or ''}"


def _mask_groups(found: re.Match[str]) -> str:
    """`a[1::2]` is a slice."""
    groups = [group for group in found[0].split(":") if group]
    return HIDDEN if len(groups) > 2 or any(len(group) > 2 for group in groups) else found[0]


_OWN = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")  # noqa: S104  # read, not bound


def is_known(host: str) -> bool:
    """Whether error messages point to this site, or it is the own machine."""
    name = (host.rpartition(":")[0] or host).lower()
    return name in _OWN or any(name == site or name.endswith(f".{site}") for site in _KNOWN)


def _mask_url(found: re.Match[str]) -> str:
    """The scheme and the path stay; what a question mark begins may hold a signature."""
    scheme, host, path, asked = found.groups()
    shown = host if is_known(host) or scheme.lower().startswith(("file:", "hf:")) else HIDDEN
    return f"{scheme}{shown}{path}{'?' + HIDDEN if asked else ''}"


def _mask_domain(found: re.Match[str]) -> str:
    """Endings that are words of programs too (`self.net`, `scipy.io`) count only behind a machine's name."""
    name = found[0]
    if is_known(name) or name.startswith("www."):
        return name
    labels = name.split(".")[:-1]
    like_machine = any("-" in label or re.search(r"[a-z]\d+$", label) for label in labels)
    return HIDDEN if found[1] or like_machine else name


def _mask_keyed(found: re.Match[str]) -> str:
    """Behind `=` any name; behind a blank only one with a digit, for `host memory` is none."""
    before, told, name = found.groups()
    if (
        _NO_HOST.match(name)
        or is_known(name)
        or (not told and not re.search(r"[A-Za-z].{0,100}\d|\d.{0,100}[A-Za-z]", name))
    ):
        return found[0]
    return f"{before}{HIDDEN}"


def _mask_user(found: re.Match[str]) -> str:
    before, name = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    known = re.match(r"(?:none|null|true|false|root|\*\*\*)", name, re.IGNORECASE)
    return found[0] if known else f"{before}{HIDDEN}"


STEPS: tuple[Step, ...] = (
    (("://",), _URL, _mask_url),
    (("@",), _MAIL, HIDDEN),
    (("@",), _PROMPT, HIDDEN),
    ((":", "-"), _MAC, HIDDEN),
    ((":",), _IPV6, _mask_groups),
    (("-",), _UUID, HIDDEN),
    ((".",), _IPV4, _mask_four),
    (("]:",), _BRACKETED, f"[{HIDDEN}]"),
    ((*(f"{month.lower()} " for month in _MONTHS.split("|")), "t0", "t1", "t2"), _SYSLOG, rf"\1{HIDDEN}"),
    (("host", "node", "server", "addr", "peer", "endpoint", "remote", "pod", "machine"), _KEYED_HOST, _mask_keyed),
    (tuple(f".{ending}" for ending in f"{_SURE}|{_MAYBE}".split("|")), _DOMAIN, _mask_domain),
    (("ip-", "ec2-", "node", "dgx", "compute", "nid", "srv", "login", "worker", "head"), _NODE, HIDDEN),
    (("-",), _AT_PORT, HIDDEN),
    (("addresses of (", " cancelled", "] "), _TOLD_HOST, HIDDEN),
    (("user", "login", "logname", "mail", "account", "owner", " in as", "whoami", "uid", "gid="), _USER, _mask_user),
    (("users", "documents and settings"), _WINDOWS_HOME, "~"),
    (("/home", "/user", "/people", "/accounts", "/student", "/staff"), _HOME, "~"),
    (("/root",), _ROOT, "~"),
    (("~",), _TILDE, "~"),
    (("scratch/", "proj", "lustre/", "gpfs/", "beegfs/", "nfs/", "fsx/", "/u/", "nas/", "work/", "data/",
      "storage/", "cluster/"), _OWN_SHARE,
     rf"\1{HIDDEN}"),
    (("\\\\",), _SHARE, rf"\\\\{HIDDEN}"),
)  # fmt: skip
