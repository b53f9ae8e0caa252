"""Atari 2600 games through the Arcade Learning Environment's vector engine (C++ threads).

last two frames of a step        luminance       resized
160 x 210 colours, twice   ->  max of both  ->  84 x 84 uint8   (Mnih et al. 2015, Methods,
                                                                 Preprocessing)
"""

from pathlib import Path

import ale_py
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from simple_dqn.environment import Environment, TimeStep

NO_LIMIT = 2**31 - 2  # frames; the engine adds 1 to it in 32 bits


class ALEEnvironment(Environment):
    """Atari games on threads of their own: `act` returns at once, `observe` waits.

    Deviates: the maximum of two frames is taken on luminance and resized by area; DeepMind's code
    took it on RGB and resized bilinearly.
    Deviates: a game starts with 0 to `random_starts` no-op frames, each number as
    likely as another; DeepMind's games start with 1 to 30.
    Deviates: a lost life does not cut the repetition of the current action short.
    """

    def __init__(
        self,
        *,
        rom_path: Path,
        num_games: int,
        num_threads: int,
        screen_shape: tuple[int, int],
        frame_skip: int,
        repeat_action_probability: float,
        minimal_action_set: bool,
        random_starts: int,
        lost_life_is_terminal: bool,
        max_frames: int,
    ) -> None:
        """Load a ROM that ALE knows (`roms.find_game`) into `num_games` emulators.

        An action is repeated for `frame_skip` frames, the last two of which make the screen, of
        `screen_shape` (height, width). `repeat_action_probability` is that of a frame to repeat the
        last action. `minimal_action_set` offers only the game's own actions, not all 18. A game
        starts with at most `random_starts` no-op frames and is cut off after `max_frames`;
        NO_LIMIT: never. `lost_life_is_terminal` is for training; the game continues.
        """
        self.num_games = num_games
        self.observation_shape = screen_shape
        self.observation_dtype = np.dtype(np.uint8)
        self._lost_life_is_terminal = lost_life_is_terminal
        self._engine = ale_py.ALEVectorInterface(
            rom_path=rom_path,
            num_envs=num_games,
            frame_skip=frame_skip,
            stack_num=1,
            img_height=screen_shape[0],
            img_width=screen_shape[1],
            grayscale=True,
            maxpool=True,
            noop_max=random_starts + 1,  # NB! the engine draws 0 to noop_max - 1
            use_fire_reset=False,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            max_episode_steps=max_frames,
            repeat_action_probability=repeat_action_probability,
            full_action_space=not minimal_action_set,
            batch_size=num_games,
            num_threads=num_threads,
            thread_affinity_offset=-1,
            autoreset_mode="SameStep",  # a game's end brings the next game's first screen
        )
        self.action_meanings = tuple(action.name for action in self._engine.get_action_set())
        self.num_actions = len(self.action_meanings)
        self._full_paddle = np.ones(num_games, np.float32)
        self._lives = np.zeros(num_games, np.int32)

    @override
    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games) >> 1  # 31 bits
        screens, info = self._engine.reset(np.arange(self.num_games), seeds.astype(np.int32))
        self._lives = info["lives"]
        return screens[:, 0]

    @override
    def act(self, actions: npt.NDArray[np.int64]) -> None:
        self._engine.send(actions, self._full_paddle)

    @override
    def close(self) -> None:
        del self._engine

    @override
    def observe(self) -> TimeStep:
        screens, rewards, terminals, cuts, info = self._engine.recv()
        game_overs = terminals | cuts
        lives = info["lives"]  # where a game ended, the lives of the next game
        if self._lost_life_is_terminal:
            terminals |= (lives < self._lives) & ~game_overs
        self._lives = lives
        return TimeStep(screens[:, 0], rewards.astype(np.float32), terminals, game_overs)
