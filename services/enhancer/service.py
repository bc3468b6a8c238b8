"""EnhancerService: checks what a client sends, hands the work to the bus, streams thoughts and a result."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from wanimage import limits, rpc
from wanimage.enhancejobs import SERIES, SINGLE, count_of, enhance_job, task_of
from wanimage.enhancing import MOST_ENTRIES
from wanimage.errors import FamilyMismatch, InvalidInput
from wanimage.jobs import make_job
from wanimage.rpc.relaying import relayed
from wanimage.serve import Ground
from wanimage.tokens import Vocabulary
from wanimage.uploads import check_uploads, store_upload
from wanimage.v1 import enhancer_pb2, enhancer_pb2_grpc, jobs_pb2, types_pb2

OFF = "the caller asked for no rewriting"


def add_front(server: grpc.aio.Server, ground: Ground) -> None:
    """Serve EnhancerService on `server`."""
    service = EnhancerService(ground, Vocabulary.load(ground.family.planner))
    enhancer_pb2_grpc.add_EnhancerServiceServicer_to_server(service, server)


@dataclass(frozen=True)
class EnhancerService(enhancer_pb2_grpc.EnhancerServiceServicer):
    """The front. Holds no model."""

    ground: Ground
    vocabulary: Vocabulary

    async def Enhance(
        self, request: enhancer_pb2.EnhanceRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[enhancer_pb2.EnhanceResponse]:
        """Reasoning as it is written, then one result. Nothing is stored unless every field is good; a caller
        that leaves cancels the job."""
        caller = rpc.caller(context)
        task, count = self._check(request)
        if request.options.mode == types_pb2.EnhanceOptions.MODE_OFF:
            off = jobs_pb2.EnhanceResult(task=task, pass_through_reason=OFF)  # type: ignore[arg-type]
            yield enhancer_pb2.EnhanceResponse(result=off)
            return
        async with self.ground.jobs.place("enhance", caller.tenant):
            uploads = await check_uploads(self.ground.blobs, caller.tenant, request.references, "references")
            references = [await store_upload(self.ground.blobs, caller.tenant, each) for each in uploads]
        payload = enhance_job(task, count, request.prompt, references, request.options)
        job = make_job(caller.tenant, self.ground.family.digest, payload, caller.seconds_left())
        async for response in self._followed(job):
            yield response

    def _check(self, request: enhancer_pb2.EnhanceRequest) -> tuple[int, int]:
        """Check every field but the references' contents; returns task and number of pictures."""
        limits.check_prompt(request.prompt, "prompt")
        limits.check_tokens(len(self.vocabulary.encode_user_text(request.prompt)), "prompt")
        limits.check_images(request.references, "references")
        limits.check_range(request.image_count, 0, MOST_ENTRIES, "image_count")
        limits.check_enhance(request.options, "options")
        limits.check_enum(request.task, jobs_pb2.Task, "task")
        if request.target_family not in ("", self.ground.family.digest):
            raise FamilyMismatch(request.target_family, self.ground.family.digest)
        return settled(request)

    async def _followed(self, job: jobs_pb2.Job) -> AsyncIterator[enhancer_pb2.EnhanceResponse]:
        """What a job thinks, as it thinks it, and what it comes to."""
        told = ""
        async with aclosing(relayed(lambda keep: self.ground.jobs.run(job, keep))) as answers:
            async for answer in answers:
                # Progress may be lost, or the result be an earlier one: what was not told is told with it.
                thinking = (
                    answer.enhance.thinking if isinstance(answer, jobs_pb2.JobResult) else answer.thinking
                )
                if len(thinking) > len(told):
                    yield enhancer_pb2.EnhanceResponse(think_delta=thinking[len(told) :])
                    told = thinking
                if isinstance(answer, jobs_pb2.JobResult):
                    yield enhancer_pb2.EnhanceResponse(result=answer.enhance)


def settled(request: enhancer_pb2.EnhanceRequest) -> tuple[int, int]:
    """(task, number of pictures): as asked, or as prompt and references say. Raises InvalidInput where they
    contradict each other."""
    task, referring = request.task, bool(request.references)
    if task == jobs_pb2.TASK_UNSPECIFIED:
        return task_of(request.prompt, referring, request.image_count)
    name = jobs_pb2.Task.Name(task)
    if task in (SINGLE[1], SERIES[1]) and not referring:
        raise InvalidInput("references", f"none, and {name} goes by one", "send one, or choose another task")
    if task in (SINGLE[0], SERIES[0]) and referring:
        problem = f"{len(request.references)}, and {name} goes by words alone"
        raise InvalidInput("references", problem, "leave them out, or choose a task with images")
    if task in SINGLE and request.image_count > 1:
        problem = f"{request.image_count}, and {name} makes one picture"
        raise InvalidInput("image_count", problem, "choose a series task, or leave it out")
    return task, count_of(request.prompt, request.image_count) if task in SERIES else 1
