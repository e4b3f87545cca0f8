"""Sentences about nothing in particular: what captions look like when we do not know the video.

They say how a model scores a sentence that has nothing to do with a video, which centres query vectors
(`models.label_bridge`) and calibrates relevance (`relevance`). Decision: subjects, actions and places are crossed
by fixed strides, so that each word meets many others and the list is the same everywhere. English and Chinese say
the same things, line by line.
"""

from __future__ import annotations

from functools import cache

_PER_SUBJECT = 16

_SUBJECTS = """
a man|一个男人
a woman|一个女人
a boy|一个男孩
a girl|一个女孩
two people|两个人
a group of friends|一群朋友
a child|一个孩子
an old man|一位老人
a dog|一只狗
a cat|一只猫
a bird|一只鸟
a horse|一匹马
a car|一辆汽车
a train|一列火车
a boat|一条船
a machine|一台机器
a soldier|一名士兵
a musician|一位音乐家
a cook|一名厨师
a cartoon character|一个卡通人物
a fish|一条鱼
a monkey|一只猴子
a team|一支球队
a crowd|一群人
"""

_ACTIONS = """
is running|在奔跑
is talking|在说话
is eating|在吃东西
is standing still|静静地站着
is moving slowly|在慢慢移动
is jumping up and down|在跳上跳下
is dancing|在跳舞
is playing a game|在玩游戏
is falling down|摔倒了
is being repaired|正在被修理
is fighting|在打斗
is swimming|在游泳
is singing|在唱歌
is sleeping|在睡觉
is cutting vegetables|在切菜
is turning around|在转身
is carrying a box|在搬箱子
is climbing|在攀爬
is drinking water|在喝水
is opening a door|在开门
is throwing a ball|在扔球
is reading|在阅读
is flying|在飞
is looking at the camera|在看着镜头
is driving away|开走了
is building something|在搭建东西
"""

_PLACES = """
in a kitchen|在厨房里
on a beach|在海滩上
in the street|在街上
in a forest|在森林里
on a stage|在舞台上
in a living room|在客厅里
in the snow|在雪地里
on a field|在田野上
in an office|在办公室里
at night|在夜里
in a swimming pool|在游泳池里
in a car|在汽车里
in front of a building|在一栋楼前
on a mountain|在山上
in a park|在公园里
in the water|在水里
in a shop|在商店里
on a table|在桌子上
in a video game|在电子游戏里
in a classroom|在教室里
at home|在家里
"""


def _pairs(table: str) -> list[list[str]]:
    return [line.split("|") for line in table.strip().splitlines()]


@cache
def sentences() -> dict[str, tuple[str, ...]]:
    """Return language code -> sentences, the same number for each language.

    >>> sentences()["en"][0], len(sentences()["en"]) == len(sentences()["zh"])
    ('a man is running in a kitchen', True)
    """
    subjects, actions, places = _pairs(_SUBJECTS), _pairs(_ACTIONS), [*_pairs(_PLACES), ["", ""]]
    english, chinese = [], []
    for row, (subject, subject_zh) in enumerate(subjects):
        for column in range(_PER_SUBJECT):
            action, action_zh = actions[(row * 7 + column * 5) % len(actions)]
            place, place_zh = places[(row * 5 + column * 3) % len(places)]
            english.append(f"{subject} {action} {place}".strip())
            chinese.append(subject_zh + place_zh + action_zh)
    return {"en": tuple(english), "zh": tuple(chinese)}
