"""What happens in a video, in Chinese; as `captions`, all of it and nothing but the truth."""

from __future__ import annotations

from .dice import Dice
from .words import listed, table
from .world import OPPOSITE, Spec, Thing, chase_direction

_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "black": "黑色",
    "white": "白色",
}
_SHAPES = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "五角星",
    "cross": "十字",
    "ring": "圆环",
}
_NUMBERS = ("", "一", "两", "三")
_SIDES = {"left": ("左边", "左侧"), "right": ("右边", "右侧"), "above": ("上方", "上面"), "below": ("下方", "下面")}
_WAYS = {"left": "向左", "right": "向右", "up": "向上", "down": "向下"}
_VERBS = table("""
left: 向左移动
left: 往左移动
left: 向左滑动
right: 向右移动
right: 往右移动
right: 向右滑动
up: 向上移动
up: 往上移动
up: 上升
down: 向下移动
down: 往下移动
down: 下降
grows: 变大
grows: 逐渐变大
grows: 越变越大
shrinks: 变小
shrinks: 逐渐变小
shrinks: 越变越小
spins: 旋转一圈
spins: 转了一圈
spins: 原地旋转
bounces: 上下跳动
bounces: 跳了几下
bounces: 上下弹跳
swells: 变大后又恢复原样
swells: 变大再缩回原样
swells: 短暂变大后恢复原样
blinks: 消失片刻又出现
blinks: 短暂消失后重新出现
blinks: 消失了一会儿又回来
flashes: 闪了一下白光
flashes: 短暂变成白色
flashes: 变白片刻又恢复原色
appears: 出现
appears: 出现在画面里
appears: 冒了出来
hides: 消失
hides: 消失不见
hides: 从画面里消失
chases: {way}追赶{other}
chases: 追着{other}{way}移动
chases: 跟着{other}{way}移动
""")
_JOINED = {
    1: ("{0}",),
    2: ("先是{0}，然后{1}", "{0}，接着{1}", "{0}，之后{1}", "{0}之后，{1}", "首先{0}，随后{1}"),
    3: ("先是{0}，然后{1}，最后{2}", "{0}，接着{1}，最后{2}", "{0}，随后{1}，再后来{2}", "首先{0}，接着{1}，然后{2}"),
}
_RELATION_FRAMES = ("画面中有{s}，{r}。{e}。", "视频里有{s}，{r}。{e}。", "{n}，{e}。", "{n}。{e}。", "{e}，{r}{i}。")
_FRAMES = ("画面中有{s}。{e}。", "视频里有{s}，{e}。", "这段视频里，{e}{i}。", "{e}{i}。")


def caption(spec: Spec, dice: Dice) -> str:
    """Return one caption by chance: {s} lists the things, {n} introduces them by their relation, {r} only recalls it,
    {e} tells the events, and {i} who has no part in them."""
    frame = dice.pick(_RELATION_FRAMES if spec.relation_stated else _FRAMES)
    events = _events(spec, dice, introduce="{i}" in frame and not spec.relation_stated)
    text = frame.format(
        s=_scene(spec, dice), n=_relation(spec, dice, True), r=_relation(spec, dice), e=events, i=_idle(spec)
    )
    return text[:-1] if "。" not in text[:-1] and dice.chance(50) else text


def name(thing: Thing, with_number: bool = False) -> str:
    """Return a thing: 红色圆环; with its number: 一个红色圆环."""
    return (f"{_NUMBERS[thing.count]}个" if with_number else "") + _COLOURS[thing.colour] + _SHAPES[thing.shape]


def relation_sentences(first: Thing, second: Thing, relation: str) -> list[str]:
    """Return where the first thing is as seen from the second, in every wording."""
    return [f"{name(first, True)}在{name(second, True)}的{side}" for side in _SIDES[relation]]


def _scene(spec: Spec, dice: Dice) -> str:
    words = [name(thing, with_number=True) for thing in spec.things]
    start = dice.below(len(words))
    return listed([*words[start:], *words[:start]], "、", "和")


def _relation(spec: Spec, dice: Dice, introduce: bool = False) -> str:
    """Return the relation as a clause; where it introduces the things, with their numbers and all other things."""
    if not spec.relation_stated:
        return ""
    first, second, relation = *spec.things[:2], spec.relation
    if dice.chance(50):
        first, second, relation = second, first, OPPOSITE[relation]
    more = "".join(f"，旁边还有{name(thing, True)}" for thing in spec.things[2:]) if introduce else ""
    words = [name(thing, introduce or thing.count > 1) for thing in (first, second)]
    return f"{words[0]}在{words[1]}的{dice.pick(_SIDES[relation])}{more}"


def _idle(spec: Spec) -> str:
    """Return a clause for the things that nothing else is said about."""
    busy = {number for event in spec.events for number in (event.actor, event.other)}
    busy |= {0, 1} if spec.relation_stated else set()
    names = [name(thing, True) for number, thing in enumerate(spec.things) if number not in busy]
    return f"，另有{listed(names, '、', '和')}一直不动" if names else ""


def _events(spec: Spec, dice: Dice, introduce: bool) -> str:
    """Return the events in their order; things are introduced with their number where nothing else does it."""
    mentioned: set[int] = set() if introduce else set(range(len(spec.things)))
    antecedent = -1 if introduce or len(spec.things) > 1 else 0
    clauses: list[str] = []
    for event in spec.events:
        omitted = bool(clauses) and event.actor == antecedent and dice.chance(50)
        actor = "" if omitted else _mention(spec, event.actor, mentioned, antecedent, dice)
        predicate = dice.pick(_VERBS[event.action])[0]
        if event.other >= 0:
            chased = _mention(spec, event.other, mentioned, -1, dice)
            predicate = predicate.format(other=chased, way=_WAYS[chase_direction(spec, event)])
        clauses.append(actor + predicate)
        antecedent = event.actor if event.other < 0 else -1
    return dice.pick(_JOINED[len(clauses)]).format(*clauses)


def _mention(spec: Spec, number: int, mentioned: set[int], antecedent: int, dice: Dice) -> str:
    """Return a thing by the words that its place in the text allows.

    Args:
        spec: the scene.
        number: the thing.
        mentioned: things that the text has introduced; this one is added.
        antecedent: what a pronoun would mean, or -1.
        dice: chooses.
    """
    thing = spec.things[number]
    if number not in mentioned:
        mentioned.add(number)
        return name(thing, with_number=True)
    if number == antecedent and dice.chance(75):
        return "它" if thing.count == 1 else "它们"
    return name(thing) if thing.count == 1 else f"{'这' if dice.chance(50) else ''}{name(thing, True)}"
