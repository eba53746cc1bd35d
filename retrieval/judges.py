"""The judge that a spec names, on this machine or on another. Imports torch only for the former."""

from core.ports import Judge
from core.settings import Settings
from retrieval.specs import parse_remote_judge_spec


def load_judge(settings: Settings) -> Judge:
    """The judge of `settings.reranker`; ModelLoadError says what is wrong with the spec or with what it names."""
    remote = parse_remote_judge_spec(settings.reranker)
    if remote is not None:
        from retrieval.remote import RemoteJudge

        return RemoteJudge(remote, settings)
    from retrieval.rerank import build_judge

    return build_judge(settings)
