"""A conversation of two turns over gRPC, with the generated stubs alone: words to stdout, pictures to files.

python examples/converse.py [HOST:PORT] [FOLDER]        # start the services first: wan up
"""

import asyncio
import sys
from pathlib import Path

import grpc

from wanimage.v1 import planner_pb2 as pb
from wanimage.v1.planner_pb2_grpc import PlannerServiceStub
from wanimage.v1.types_pb2 import UserMessage

TURNS = ["Draw a fox and a red balloon in a meadow.", "Now the same at night, please."]


async def main(address: str = "127.0.0.1:50051", folder: str = "out/converse") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    async with grpc.aio.insecure_channel(address) as channel:
        planner = PlannerServiceStub(channel)
        call = planner.Converse(timeout=600)  # every call has a deadline
        await call.write(pb.ConverseRequest(start=pb.ConverseStart()))
        for text in TURNS:
            print(f"> {text}")
            await call.write(pb.ConverseRequest(message=pb.ConverseMessage(user=UserMessage(text=text))))
            while (response := await call.read()) is not grpc.aio.EOF:
                event = response.event
                kind = event.WhichOneof("kind")
                if kind == "text_delta":
                    print(event.text_delta.text, end="", flush=True)
                elif kind == "image_ready":
                    image = event.image_ready.image
                    chunks = planner.FetchBlob(pb.FetchBlobRequest(blob=image.base), timeout=60)
                    path = Path(folder, f"{event.session_id}-{image.index}.png")
                    path.write_bytes(b"".join([piece.chunk async for piece in chunks]))
                    print(f"[{path}: {image.prompt}]")
                elif kind in ("turn_failed", "turn_cancelled"):
                    sys.exit(f"the turn ended early: {event}")
                elif kind == "turn_finished":
                    print(f"({event.turn_finished.usage.seconds:.1f} s)")
                    break
        await call.done_writing()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
