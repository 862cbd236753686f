"""The audio client: what it promises whatever the family, and the embedded model through it."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import sine_provider
import soundfile as sf
import torch

from acestep_like import aio
from acestep_like.audio.io import load_audio
from acestep_like.audio.tags import read_recipe
from acestep_like.client import (
    AudioClient,
    AudioRequest,
    ClipReady,
    StepDone,
    audio_client,
    client,
    generate_audio,
    output,
)
from acestep_like.client.families import family
from acestep_like.errors import AceStepError, Cancelled, CheckpointError, DeviceMemoryError, InputError, OutputError
from acestep_like.models import catalog as models
from acestep_like.tools import builtin
from acestep_like.types.progress import CancelToken

pytestmark = pytest.mark.usefixtures("sine")


def no_audio_thread() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("audio")]


class TestForms:
    def test_numpy_is_the_default_and_one_channel_is_flat(self, sine):
        rate, samples = sine.generate("a beat", duration_s=0.5)
        assert rate == 8000 and samples.shape == (4000,) and samples.dtype == np.float32

    def test_path_writes_a_wav_that_knows_how_it_was_made(self, sine, tmp_path):
        path = sine.generate("a beat", format="path", seed=7)
        assert path.startswith("outputs/audio/") and path.endswith(".wav")
        recipe = read_recipe(path)["clip"]
        assert recipe["seed"] == 7 and recipe["family"] == "sine" and recipe["request"]["prompt"] == "a beat"

    def test_the_folder_comes_from_the_call_else_from_the_environment(self, sine, tmp_path, monkeypatch):
        monkeypatch.setenv(output.OUTPUT_VARIABLE, str(tmp_path / "there"))
        assert sine.generate("a beat", format="path").startswith(str(tmp_path / "there" / "audio"))
        assert sine.generate("a beat", format="path", output_dir=tmp_path / "here").startswith(str(tmp_path / "here"))

    def test_clips_of_one_second_do_not_overwrite_each_other(self, sine):
        paths = sine.generate("a beat", format="path", num_audio=5, duration_s=0.1)
        assert len(set(paths)) == 5 and all(sf.info(path).frames == 800 for path in paths)

    def test_bytes_and_data_url_hold_the_same_file(self, sine):
        data = sine.generate("a beat", format="bytes", seed=1)
        url = sine.generate("a beat", format="data_url", seed=1)
        assert url.startswith("data:audio/wav;base64,") and base64.b64decode(url.split(",")[1]) == data
        samples, rate = sf.read(io.BytesIO(data))
        assert rate == 8000 and len(samples) == 8000

    @pytest.mark.parametrize("audio_format", ["flac", "mp3", "ogg", "opus", "wav32", "m4a", "aac"])
    def test_every_file_format_is_offered(self, sine, audio_format):
        data = sine.generate("a beat", format="bytes", audio_format=audio_format)
        assert load_audio(data, field="src_audio").samples.abs().max() > 0.3

    def test_several_clips_are_a_list_one_is_not(self, sine):
        assert isinstance(sine.generate("a beat", num_audio=2), list)
        assert isinstance(sine.generate("a beat", num_audio=1), tuple)

    def test_a_clip_saves_itself_by_its_name(self, sine, tmp_path):
        clip = sine.clips("a beat")[0]
        assert sf.info(clip.save(tmp_path / "x.flac")).format == "FLAC" and clip.duration_s == 1.0
        with pytest.raises(InputError, match="ends in"):
            clip.save(tmp_path / "x.aiff")

    def test_a_folder_that_cannot_be_written_is_told_before_anything_loads(self, sine, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            sine.generate("a beat", format="path", output_dir=tmp_path / "file" / "x")
        assert not sine_provider.loads


class TestClipping:
    """Peaks that a file cannot hold."""

    @pytest.mark.parametrize("audio_format", ["wav", "flac", "ogg"])
    def test_a_clip_that_is_too_loud_is_made_softer_as_a_whole_and_its_file_says_so(self, sine, tmp_path, audio_format):
        path = sine.generate("loud", format="path", audio_format=audio_format, seed=1)
        written, _ = sf.read(path)
        _, samples = sine.generate("loud", seed=1)
        assert np.abs(samples).max() > 1.9  # in memory it is as it was made
        assert np.allclose(written, samples / np.abs(samples).max(), atol=0.05)
        assert read_recipe(path)["clip"]["attenuated_db"] == pytest.approx(6.02, abs=0.01)
        assert "attenuated_db" not in read_recipe(sine.generate("a beat", format="path", seed=1))["clip"]

    def test_a_float_file_keeps_every_level(self, sine):
        written, _ = sf.read(io.BytesIO(sine.generate("loud", format="bytes", audio_format="wav32", seed=1)))
        assert np.abs(written).max() > 1.9

    def test_it_can_be_refused_instead(self, sine, tmp_path):
        with pytest.raises(OutputError, match=r"6\.0 dB beyond what flac holds"):
            sine.generate("loud", format="path", audio_format="flac", output_dir=tmp_path, on_clipping="refuse")
        assert not list(tmp_path.iterdir())
        assert sine.generate("a beat", format="bytes", on_clipping="refuse")
        with pytest.raises(InputError, match="on_clipping: got 'ignore'; expected one of attenuate, refuse"):
            sine.generate("a beat", on_clipping="ignore")

    def test_samples_that_are_no_numbers_are_an_error(self, sine):
        with pytest.raises(AceStepError, match="NaN or infinite"):
            sine.clips("broken")


class TestKept:
    """Files of clips that were finished before something went wrong."""

    def test_they_stay_when_a_later_clip_fails_and_the_log_names_them(self, sine, tmp_path, caplog):
        with pytest.raises(CheckpointError, match="third"):
            sine.generate("third breaks", format="path", output_dir=tmp_path, num_audio=4, seed=10)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 2 and "2 of 4 clips were made and are kept" in caplog.text
        assert all(str(file) in caplog.text for file in files)

    def test_the_same_for_asyncio(self, sine, tmp_path, caplog):
        with pytest.raises(CheckpointError, match="third"):
            asyncio.run(
                aio.audio_client(sine).generate(
                    "third breaks", format="path", output_dir=tmp_path, num_audio=4, seed=10
                )
            )
        assert len(list(tmp_path.iterdir())) == 2 and "2 of 4" in caplog.text


class TestSeeds:
    def test_a_clip_of_a_batch_is_the_clip_alone(self, sine):
        batch = sine.clips("a beat", seed=10, num_audio=3)
        alone = sine.clips("a beat", seed=12)[0]
        assert [clip.seed for clip in batch] == [10, 11, 12]
        assert np.array_equal(batch[2].samples, alone.samples)

    def test_seeds_by_clip_come_first_and_zero_is_a_seed(self, sine):
        assert [clip.seed for clip in sine.clips("a beat", seeds=(0, 5), seed=70, num_audio=3)] == [0, 5, 72]

    @pytest.mark.parametrize("seed", [None, -1])
    def test_no_seed_draws_one_and_records_it(self, sine, seed):
        first, second = (sine.clips("a beat", seed=seed)[0] for _ in range(2))
        assert first.seed != second.seed
        assert np.array_equal(sine.clips("a beat", seed=first.seed)[0].samples, first.samples)


class TestBadInput:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"temperature": 1.0}, "temperature: got 1.0; expected nothing: Sine has no use for it"),
            ({"negative_prompt": "noise"}, "negative_prompt"),
            ({"banjo": 1}, "banjo: got 1; expected no such field; Sine's own are none"),
            ({"guidance_scale": 20.0}, "guidance_scale: got 20.0; expected from 1 to 9 for Sine"),
            ({"num_audio": 0}, "num_audio"),
            ({"num_inference_steps": 2.5}, "num_inference_steps"),
            ({"duration_s": 0}, "duration_s"),
            ({"seed": "x"}, "seed"),
            ({"seeds": [1, "x"]}, "seeds"),
            ({"audio_role": "melody"}, "audio_role: got 'melody'; expected an audio beside it"),
            ({"audio": "x.wav", "audio_role": "cover"}, "audio_role: got 'cover'; expected one of melody, init"),
            ({"format": "mp3"}, "format: got 'mp3'; expected one of numpy, path, bytes, data_url"),
            ({"audio_format": "aiff"}, "audio_format"),
            ({"output_dir": "x"}, "output_dir: got 'x'; expected format=\"path\" beside it"),
            ({"sampler": "euler"}, "sampler"),
            ({"audio_length_in_s": 3.0}, "Did you mean 'duration_s'?"),
            ({"num_waveforms_per_prompt": 2}, "Did you mean 'num_audio'?"),
            ({"steps": 3}, "Did you mean 'num_inference_steps'?"),
        ],
    )
    def test_is_one_sentence_before_anything_loads(self, sine, fields, words):
        with pytest.raises(InputError) as error:
            sine.generate("a beat", **fields)
        assert words in str(error.value) and "\n" not in str(error.value)
        assert not sine_provider.loads

    def test_an_empty_prompt_needs_an_audio(self, sine):
        with pytest.raises(InputError, match="prompt"):
            sine.generate("  ")
        assert sine.clips("", audio=(np.ones(4000, np.float32), 8000))

    def test_what_only_the_weights_know_is_told_before_they_run(self, sine):
        steps: list[StepDone] = []
        with pytest.raises(InputError, match="at most 5 s for one"):
            sine.clips("a beat", duration_s=6.0, on_step=steps.append)
        assert not steps

    def test_leaves_no_folder_behind(self, sine, tmp_path):
        with pytest.raises(InputError):
            sine.generate("a beat", format="path", banjo=1)
        assert not list(tmp_path.iterdir())

    def test_streams_are_checked_when_they_are_asked_for(self, sine):
        with pytest.raises(InputError):
            sine.generate("a beat", stream=True, banjo=1)
        with pytest.raises(InputError):
            sine.events("a beat", banjo=1)


class TestLoading:
    def test_weights_load_once_for_all_clients_and_only_when_needed(self, sine):
        assert not sine_provider.loads
        sine.generate("a beat")
        AudioClient("sine:one", device="cpu").generate("a beat")
        generate_audio("a beat", model="sine:one", device="cpu")
        assert len(sine_provider.loads) == 1

    def test_other_options_are_another_model(self, sine):
        sine.load()
        audio_client("sine:one", model_kwargs={"device": "cpu", "torch_dtype": "bfloat16"}).load()
        assert [options.dtype for options in sine_provider.loads] == [None, torch.bfloat16]

    def test_close_lets_go(self, sine):
        with sine:
            sine.load()
        sine.load()
        assert len(sine_provider.loads) == 2

    def test_a_load_that_failed_is_tried_again(self):
        broken = AudioClient("sine:broken", device="cpu")
        for _ in range(2):
            with pytest.raises(CheckpointError, match="nothing there"):
                broken.generate("a beat")
        assert len(sine_provider.loads) == 2

    def test_one_model_plays_while_another_loads(self, sine, monkeypatch):
        sine.load()
        asked, go_on = threading.Event(), threading.Event()

        def slowly(options):
            asked.set()
            assert go_on.wait(30)
            return sine_provider.SineProvider()

        slow = AudioClient("sine:slow", device="cpu")
        monkeypatch.setattr(slow, "family", replace(slow.family, load=slowly))
        other = threading.Thread(target=slow.load)
        other.start()
        assert asked.wait(30) and sine.clips("a beat")
        go_on.set()
        other.join()

    def test_closing_frees_the_model_before_memory_is_given_back(self, sine, monkeypatch):
        sine.load()
        with client.pool.provider(sine.family, sine.options) as loaded:
            provider = weakref.ref(loaded)
        del loaded
        left: list[object] = []
        monkeypatch.setattr(client, "release_memory", lambda device: left.append(provider()))
        sine.close()
        assert left == [None]

    def test_a_callback_that_asks_its_own_model_is_told(self, sine):
        with pytest.raises(AceStepError, match="wait until the clip is done"):
            sine.clips("a beat", on_step=lambda _: sine.clips("another"))
        assert sine.clips("a beat")

    @pytest.mark.parametrize(
        "options",
        [
            {"device": "toaster"},
            {"device": "cpu:abc"},
            {"torch_dtype": "int8"},
            {"torch_dtype": torch.int8},
            {"model_kwargs": {"a": 1}},
            {"model_kwargs": [1]},
            {"revision": ["a"]},
        ],
    )
    def test_bad_options_are_refused(self, options):
        with pytest.raises(InputError):
            AudioClient("sine:one", **options)


class TestStreaming:
    def test_a_chunk_a_step_and_a_final_one_a_clip(self, sine):
        stream = sine.generate("a beat", stream=True, num_inference_steps=2, num_audio=2, duration_s=0.2)
        told = [chunk.content for chunk in stream if chunk.is_audio_progress()]
        assert [(c["step"], c["total_steps"], c["final"]) for c in told] == [
            (1, 2, False),
            (2, 2, False),
            (2, 2, True),
            (1, 2, False),
            (2, 2, False),
            (2, 2, True),
        ]
        assert all((c["result"] is not None) == c["final"] and c["duration_s"] == 0.2 for c in told)

    def test_a_family_without_steps_gives_the_final_chunk_alone_and_ignores_steps(self, sine, monkeypatch):
        monkeypatch.setattr(sine, "family", sine.family.__class__(**{**vars(sine.family), "steps_count": False}))
        told = [chunk.content for chunk in sine.generate("a beat", stream=True, num_inference_steps=3)]
        assert [(c["step"], c["total_steps"], c["final"]) for c in told] == [(1, 1, True)]
        assert sine.clips("a beat", num_inference_steps=3)[0].metadata["ignored"] == ["num_inference_steps"]

    def test_events_count_steps_of_every_clip(self, sine):
        events = list(sine.events("a beat", num_inference_steps=2, num_audio=2))
        assert [event for event in events if isinstance(event, StepDone)] == [
            StepDone(0, 1, 2),
            StepDone(0, 2, 2),
            StepDone(1, 1, 2),
            StepDone(1, 2, 2),
        ]
        assert [event.index for event in events if isinstance(event, ClipReady)] == [0, 1]

    def test_errors_reach_the_consumer(self, sine):
        with pytest.raises(CheckpointError, match="a string broke"):
            list(sine.generate("break", stream=True))
        assert no_audio_thread()

    def test_too_little_memory_is_told_and_the_model_goes_on(self, sine):
        with pytest.raises(DeviceMemoryError, match="cpu has too little memory for this clip"):
            sine.clips("too much")
        assert sine.clips("a beat")

    def test_a_result_that_cannot_be_encoded_stops_the_work(self, sine, monkeypatch):
        monkeypatch.setattr(client.Clip, "numpy", lambda clip: 1 / 0)
        stream = sine.generate("a beat", stream=True, num_audio=64, num_inference_steps=500)
        with pytest.raises(ZeroDivisionError) as error:
            list(stream)
        assert no_audio_thread() and error

    def test_a_stream_that_is_closed_stops_the_work(self, sine):
        events = sine.events("a beat", num_inference_steps=1000, num_audio=64)
        next(events)
        events.close()
        assert no_audio_thread()
        assert sine.clips("a beat", num_inference_steps=1)

    def test_cancelling_stops_within_a_step(self, sine):
        token, steps = CancelToken(), []

        def watch(event: StepDone) -> None:
            steps.append(event)
            token.cancel()

        with pytest.raises(Cancelled):
            sine.clips("a beat", on_step=watch, cancel=token, num_inference_steps=50)
        assert len(steps) == 1

    def test_what_a_callback_raises_is_passed_on(self, sine):
        def watch(_: StepDone) -> None:
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            sine.clips("a beat", on_step=watch)


class TestAsync:
    def test_calls_wait_for_each_other_and_both_answer(self, sine):
        async def two():
            asynchronous = aio.audio_client(sine)
            return await asyncio.gather(
                asynchronous.generate("a beat", seed=1),
                asynchronous.generate("a beat", seed=2, num_audio=2, format="bytes"),
            )

        (rate, _), pair = asyncio.run(two())
        assert rate == 8000 and len(pair) == 2

    def test_a_stream_is_read_with_async_for(self, sine):
        async def read():
            return [chunk async for chunk in await aio.audio_client(sine).generate("a beat", stream=True)]

        assert [chunk.content["final"] for chunk in asyncio.run(read())] == [False, False, False, True]

    def test_one_shot_takes_a_name_or_a_client(self, sine):
        paths = [
            asyncio.run(aio.generate_audio("a beat", model=model, format="path", device="cpu"))
            for model in ("sine:one",)
        ]
        paths.append(asyncio.run(aio.generate_audio("a beat", model=sine, format="path")))
        assert all(sf.info(path).frames == 8000 for path in paths)

    def test_a_cancelled_task_stops_its_work(self, sine):
        async def start_and_stop():
            task = asyncio.create_task(aio.audio_client(sine).clips("a beat", num_inference_steps=1000, num_audio=64))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(start_and_stop())
        assert no_audio_thread()

    def test_a_cancelled_call_logs_nothing(self, sine, caplog):
        """Neither the call that works nor one that waits its turn."""

        async def start_and_stop():
            calls = [
                asyncio.create_task(aio.audio_client(sine).clips("a beat", num_inference_steps=1000, num_audio=64))
                for _ in range(2)
            ]
            await asyncio.sleep(0.1)
            for call in calls:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)

        asyncio.run(start_and_stop(), debug=True)
        gc.collect()
        assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]

    def test_it_names_what_it_wraps(self, sine):
        wrapped = aio.audio_client(sine)
        assert (wrapped.model, wrapped.spec, wrapped.model_kwargs) == (sine.model, sine.spec, sine.model_kwargs)
        assert wrapped.model_kwargs["device"] == "cpu"

    def test_a_call_that_waits_its_turn_can_be_cancelled(self, sine):
        async def wait_and_give_up():
            asynchronous = aio.audio_client(sine)
            held, go_on = threading.Event(), threading.Event()

            def somebody_elses_long_clip():
                with client.pool.provider(sine.family, sine.options):
                    held.set()
                    go_on.wait(30)

            other = threading.Thread(target=somebody_elses_long_clip)
            other.start()
            held.wait(30)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asynchronous.clips("a beat"), 0.2)
            free = no_audio_thread()
            go_on.set()
            other.join()
            return free

        assert asyncio.run(wait_and_give_up())

    def test_bad_input_leaves_no_folder(self, sine, tmp_path):
        with pytest.raises(InputError):
            asyncio.run(aio.generate_audio("a beat", model=sine, format="path", output_dir="made", banjo=1))
        assert not list(tmp_path.iterdir())

    def test_options_beside_a_client_are_refused(self, sine):
        with pytest.raises(InputError, match="no options beside a client"):
            aio.audio_client(sine, device="cpu")

    def test_errors_are_raised_where_they_are_awaited(self, sine):
        with pytest.raises(InputError):
            asyncio.run(aio.generate_audio("a beat", model=sine, banjo=1))


class TestTool:
    def test_it_yields_progress_and_returns_a_path(self, sine):
        run = builtin.make_audio_tool(sine, duration_s=0.5, num_inference_steps=2)("a beat")
        chunks = [next(run) for _ in range(3)]
        with pytest.raises(StopIteration) as end:
            next(run)
        assert sf.info(end.value.value).frames == 4000
        assert [chunk.content["final"] for chunk in chunks] == [False, False, True]

    def test_it_describes_itself(self, sine):
        tool = builtin.make_audio_tool(sine)
        assert tool.__name__ == tool.schema["name"] == "generate_audio"
        assert tool.schema["parameters"]["required"] == ["prompt"]

    def test_settings_that_can_never_work_are_refused_when_it_is_made(self, sine):
        with pytest.raises(InputError, match="num_inference_steps"):
            builtin.make_audio_tool(sine, num_inference_steps=0)

    def test_the_shared_one_reads_the_environment_and_forgives_a_first_failure(self, monkeypatch):
        monkeypatch.setattr(builtin, "_shared", [])
        monkeypatch.setenv(models.MODEL_VARIABLE, "banjo")
        with pytest.raises(InputError):
            list(builtin.generate_audio("a beat"))
        monkeypatch.setenv(models.MODEL_VARIABLE, "sine:one")
        assert list(builtin.generate_audio("a beat"))[-1].content["final"]


class TestRequest:
    def test_given_names_what_differs_from_the_defaults(self):
        asked = AudioRequest.of("a beat", seed=3, num_audio=1, bpm=90)
        assert asked.given == {"prompt": "a beat", "seed": 3} and asked.extra == {"bpm": 90}

    def test_arrays_can_be_given_as_audio(self):
        assert "audio" in AudioRequest("x", audio=(np.zeros(9), 8000)).given

    def test_what_the_client_answers_can_be_given_back(self, sine):
        clip = sine.clips("a beat")[0]
        for audio in (clip, clip.numpy()):
            samples, rate = AudioRequest("x", audio=audio).audio
            assert rate == 8000 and samples.shape[-1] == 8000
            assert sine.clips("a beat", audio=audio)

    @pytest.mark.parametrize(
        "fields",
        [
            {"extra": "ab"},
            {"extra": [1]},
            {"seed": 2**63 - 1, "num_audio": 2},
            {"seeds": [1, 2]},
            {"bpm": 84, "extra": {"bpm": 90}},
        ],
    )
    def test_values_that_contradict_are_refused(self, fields):
        with pytest.raises(InputError):
            AudioRequest.of("x", **fields)

    def test_long_words_and_halves_of_characters_are_refused(self):
        for prompt in ("x" * 5000, "\ud800", 3):
            with pytest.raises(InputError, match="prompt"):
                AudioRequest(prompt)  # type: ignore[arg-type]


class TestCommand:
    """`acestep-like clip`."""

    def test_it_writes_what_was_asked_and_the_file_tells_how(self, tmp_path, capsys):
        from acestep_like.entrypoints.cli.main import main

        order = ["clip", "a beat", "--model", "sine:one", "--device", "cpu", "--num-audio", "2", "--seed", "5"]
        assert main([*order, "--duration-s", "0.5", "--audio-format", "flac", "--out", "made"]) == 0
        told = capsys.readouterr().out
        files = sorted((tmp_path / "made").iterdir())
        assert len(files) == 2 and all(sf.info(file).frames == 4000 and file.name in told for file in files)
        assert "seed      5" in told and "seed      6" in told
        assert main(["show", str(files[0])]) == 0
        assert "family: sine" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["--set", "banjo=1"], "banjo"),
            (["--set", "banjo"], "NAME=VALUE"),
            (["--duration-s", "long"], "duration_s"),
            (["--model", "banjo"], "model"),
            (["--temperature", "1"], "temperature"),
        ],
    )
    def test_bad_input_is_a_sentence_and_no_file(self, words, complaint, capsys, tmp_path):
        from acestep_like.entrypoints.cli.main import main

        assert main(["clip", "a beat", "--model", "sine:one", *words]) == 2
        assert complaint in capsys.readouterr().err and not list(tmp_path.iterdir())

    def test_fields_of_the_family_are_read_as_it_declares_them(self):
        from acestep_like.entrypoints.cli.clip import _own_field

        told = ("bpm=90", "keyscale=A minor", "timesignature=4", "instrumental=true", "cfg_interval_end=0.5")
        assert [_own_field(family("acestep"), text) for text in told] == [
            ("bpm", 90),
            ("keyscale", "A minor"),
            ("timesignature", "4"),
            ("instrumental", True),
            ("cfg_interval_end", 0.5),
        ]
        for text in ("prompt=y", "extra=5", "banjo"):
            with pytest.raises(InputError, match="set"):
                _own_field(family("acestep"), text)
