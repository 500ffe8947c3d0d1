"""Fixed words of the program in Chinese: phases, statuses, outcomes, and what a tier answers to a request.

A test holds them against the tables that they come from. What is composed of facts, such as the reason of a guard or
the message of an error, stays as the program says it: it is what an operator searches for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NEW_CONTROLLER = "is rolled on by a new controller, from where it stands"
"""What `resume` does where no controller works on a rollout."""

CHINESE: Mapping[str, str] = MappingProxyType(
    {
        # phases of an instance
        "creating": "创建中",
        "warming": "预热",
        "ready": "就绪",
        "admitted": "已接纳",
        "leaving": "退出中",
        "draining": "排空中",
        "drained": "已排空",
        "stopping": "停止中",
        "gone": "已移除",
        "failed": "失败",
        "dead": "已终止",
        # statuses of a tier, outcomes of a rollout
        "resting": "静止",
        "rolling": "发布中",
        "holding": "等待 promote",
        "paused": "已暂停",
        "undoing": "退回中",
        "completed": "已完成",
        "undone": "已退回",
        # answers to requests
        NEW_CONTROLLER: "由新的控制器从当前位置继续发布",
        "turns back: the old instances are re-admitted first, then the new ones are drained and stopped": "退回："
        "先重新接纳旧实例，再排空并停止新实例",
        "no rollout is under way": "没有正在进行的发布",
        "a rollout is under way: abort it first, or let it end": "有发布正在进行：先 `abort`，或等它结束",
        "the tier is already going back; that goes on": "该层已在退回，并会继续",
        "the tier could not be started and there is no template to go back to; roll it to another one": "该层未能启动，"
        "也没有可退回的模板；请发布到另一个模板",
        "goes to the other template; the way back still leads to the last complete one": "转向另一个模板；"
        "退回时仍回到上一个完整发布的模板",
        "skips the step it is at and goes on": "跳过当前步骤并继续",
        "skips all remaining steps and rolls the rest": "跳过其余全部步骤，发布剩余实例",
        "rolls to the template": "发布到该模板",
        "no rollout is under way; `undo` takes back the last completed one": "没有正在进行的发布；"
        "`undo` 可撤回上一次完成的发布",
        "rolls back to the template before the last completed rollout, with drains": "经排空退回到"
        "上一次完成的发布之前的模板",
        "rolls again to the template of the last rollout that was undone": "再次发布到上一次被退回的发布的模板",
        "begins nothing new; drains under way go on to their end; instances that die are replaced": "不再开始新的变更；"
        "进行中的排空继续到结束；终止的实例会被替换",
        "it is not paused; it goes on": "未暂停，仍在进行",
        "stays where it is until it is resumed or promoted": "停在当前位置，直到 `resume` 或 `promote`",
        "it waits for `promote`": "正在等待 `promote`",
        "goes to the other template, and goes on": "转向另一个模板并继续",
        "stays paused": "保持暂停",
        "goes on where it stopped": "从停下之处继续",
        "goes to the other template; the way back is the one it was going back to": "转向另一个模板；"
        "退回的目标仍是原先要退回的模板",
        "the way back to a safe state is not paused": "退回安全状态的过程不可暂停",
        "turns once more, to the template it came from": "再次转向，回到退回之前的目标模板",
        "tries the same template again": "再次尝试同一模板",
        "there is no step to promote: it goes on by itself": "没有可跳过的步骤：发布会自行继续",
        "there is no earlier rollout to go by": "没有可依据的更早发布",
    }
)


def term(lang: str, words: str) -> str:
    """The words in that language, where they are among these."""
    return CHINESE.get(words, words) if lang == "zh" else words
