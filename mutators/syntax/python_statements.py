"""Walks the statements of a Python module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from mutators.syntax.outline import Function, Kind, Loop, Place, Statement
from mutators.syntax.python_expressions import Expressions
from mutators.syntax.python_kinds import MODULE, Evidence, Scope
from mutators.syntax.python_notes import Notes
from mutators.syntax.python_words import DISPLAYS, FIXED, FREE, TEST, TEXTS


def walked(module: cst.Module) -> Notes:
    """All that is in ``module``."""
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    notes = Notes(module.bytes, wrapper.resolve(ByteSpanPositionProvider), Evidence(wrapper.module))
    Statements(notes).body(module.body, "")
    notes.evidence.settle()
    notes.reads.sort()
    return notes


class Statements:
    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.expressions = Expressions(notes)
        self._see = self.expressions.see
        self._step = notes.evidence.module.default_indent
        self._region = Place(0, len(notes.text) + 1)
        """Where the names that are bound now can be seen at most."""
        self._in_class = False
        self._scopes = self._blocks = 0
        self._returns: list[Place] = []
        self._empty_return = False
        self.expressions.region = self._region

    @property
    def _scope(self) -> Scope:
        return self.expressions.scope

    # -- blocks -------------------------------------------------------------------------------------------

    def body(self, statements: Sequence[cst.BaseStatement | cst.BaseSmallStatement], indent: str) -> None:
        """The statements of a block, each on a line of its own."""
        block = self._blocks
        self._blocks += 1
        for statement in statements:
            self.notes.statements.append(self._noted(statement, block, indent, len(statements) == 1))
            if isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    self._small(small, self.notes.place(statement).end)
            else:
                self._compound(statement, indent)

    def _noted(self, node: cst.CSTNode, block: int, indent: str, alone: bool) -> Statement:
        place, text = self.notes.place(node), self.notes.text
        line_start = text.rfind(b"\n", 0, place.start) + 1
        line_end = text.find(b"\n", place.end)
        line_end = len(text) if line_end < 0 else line_end
        smalls = node.body if isinstance(node, cst.SimpleStatementLine) else (node,)
        documents = isinstance(smalls[0], cst.Expr) and isinstance(smalls[0].value, TEXTS)
        return Statement(
            place,
            outer=Place(line_start, min(line_end + 1, len(text))),
            after=line_end,
            block=block,
            indent=indent,
            form=type(smalls[0]).__name__,
            alone=alone,
            fixed=documents or any(isinstance(small, FIXED) for small in smalls),
        )

    def _suite(self, suite: cst.BaseSuite, indent: str) -> None:
        if isinstance(suite, cst.IndentedBlock):
            self.body(suite.body, indent + (self._step if suite.indent is None else suite.indent))
        else:
            assert isinstance(suite, cst.SimpleStatementSuite)
            for small in suite.body:
                self._small(small, self.notes.place(suite).end)

    # -- statements of one line ---------------------------------------------------------------------------

    def _small(self, node: cst.BaseSmallStatement, end: int) -> None:
        match node:
            case cst.Assign(targets=targets, value=value):
                self._see(value, replace(FREE, target=self.notes.evidence.text(targets[0].target)))
                for target in targets:
                    self._assign(target.target, value)
                    self._bind(target.target, end)
            case cst.AugAssign(target=target, operator=operator, value=value):
                self._augmented(target, operator, value)
            case cst.AnnAssign(target=target, annotation=annotation, value=value):
                name = self.notes.evidence.text(target)
                self.notes.evidence.annotate(self._scope, name, annotation.annotation)
                if value is not None:
                    self._see(value, replace(FREE, target=name))
                self._bind(target, end)
            case cst.Return(value=value):
                self._empty_return |= value is None
                if value is not None:
                    self._returns.append(self.notes.place(value))
                    self._see(value, FREE)
            case cst.Expr(value=inner) if isinstance(inner, TEXTS):
                pass
            case cst.Expr(value=inner) | cst.Assert(test=inner):
                self._see(inner, FREE if isinstance(node, cst.Expr) else replace(TEST, free=False))
            case cst.Raise(exc=cst.BaseExpression() as inner) | cst.Del(target=inner):
                self.expressions.enter(inner)
            case cst.Import() | cst.ImportFrom():
                self._import(node)
            case _:
                pass

    def _assign(self, target: cst.BaseExpression, value: cst.BaseExpression) -> None:
        """Remember what is assigned to what, part by part where both sides say so."""
        if (
            isinstance(target, cst.Tuple)
            and isinstance(value, cst.Tuple)
            and len(target.elements) == len(value.elements)
        ):
            for one, other in zip(target.elements, value.elements, strict=True):
                self._assign(one.value, other.value)
        else:
            self.notes.evidence.assigned.append((self._scope, self.notes.evidence.text(target), value))

    def _augmented(
        self, target: cst.BaseAssignTargetExpression, operator: cst.CSTNode, value: cst.BaseExpression
    ) -> None:
        self.notes.operator(operator, self.notes.evidence.module.code_for_node(operator).strip())
        if isinstance(target, cst.BaseExpression):
            if not isinstance(value, DISPLAYS):
                self.expressions.number(target)
                self.expressions.number(value)
            self.expressions.enter(target)
            self._see(value, replace(FREE, target=self.notes.evidence.text(target)))

    def _import(self, node: cst.Import | cst.ImportFrom) -> None:
        if isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            name = alias.evaluated_alias or alias.evaluated_name
            if isinstance(node, cst.Import):
                self.notes.imports[alias.evaluated_name] = name
            self.notes.bind(self._scope, name.split(".")[0], self._region)
            self.notes.evidence.known[self._scope, name.split(".")[0]] = Kind.OTHER

    def _bind(self, target: cst.BaseExpression, start: int) -> None:
        """Names of the module can be seen from everywhere in it, those of a function from there on."""
        if not self._in_class:
            visible = self._region if self._scope == MODULE else Place(start, self._region.end)
            self.expressions.bind(target, visible)
        elif not isinstance(target, cst.Name):
            self.expressions.enter(target)

    # -- statements with blocks ---------------------------------------------------------------------------

    def _compound(self, node: cst.CSTNode, indent: str) -> None:
        match node:
            case cst.If(test=test, body=body, orelse=orelse) | cst.While(test=test, body=body, orelse=orelse):
                self._see(test, TEST)
                self._suite(body, indent)
                self._else(orelse, indent)
            case cst.For(target=target, iter=through, body=body, orelse=orelse):
                self.notes.loops.append(self._loop(node))
                self.expressions.contain(through)
                self._see(through, FREE)
                visible = Place(self.notes.place(through).end, self._region.end)
                self.expressions.loop_variable(target, through, visible)
                self._suite(body, indent)
                self._else(orelse, indent)
            case cst.With(items=items, body=body):
                for item in items:
                    self.expressions.enter(item.item)
                    if item.asname is not None:
                        self._bind(item.asname.name, self.notes.place(item.item).end)
                self._suite(body, indent)
            case cst.Try() | cst.TryStar():
                self._try(node, indent)
            case cst.FunctionDef():
                self._define(node, indent)
            case cst.ClassDef(name=name, body=body):
                self.notes.bind(self._scope, name.value, self._region)
                before, self._in_class = self._in_class, True
                self._suite(body, indent)
                self._in_class = before
            case cst.Match(subject=subject, cases=cases):
                self.expressions.enter(subject)
                for case in cases:
                    self._suite(case.body, indent + self._step)
            case _:
                pass

    def _loop(self, node: cst.For) -> Loop:
        inner = node.body.body[0] if len(node.body.body) == 1 else None
        nested = self._head(inner) if isinstance(inner, cst.For) else None
        return Loop(self.notes.place(node), self._head(node), nested)

    def _head(self, node: cst.For) -> Place:
        """``target in iterable``."""
        return Place(self.notes.place(node.target).start, self.notes.place(node.iter).end)

    def _else(self, orelse: cst.If | cst.Else | None, indent: str) -> None:
        if isinstance(orelse, cst.If):
            self._compound(orelse, indent)
        elif orelse is not None:
            self._suite(orelse.body, indent)

    def _try(self, node: cst.Try | cst.TryStar, indent: str) -> None:
        self._suite(node.body, indent)
        for handler in node.handlers:
            if handler.name is not None:
                self._bind(handler.name.name, self.notes.place(handler).start)
            self._suite(handler.body, indent)
        for part in (node.orelse, node.finalbody):
            if part is not None:
                self._suite(part.body, indent)

    def _define(self, node: cst.FunctionDef, indent: str) -> None:
        if not self._in_class:
            self.notes.bind(self._scope, node.name.value, self._region)
        place = self.notes.place(node)
        outside = self._scope, self._region, self._in_class, self._returns, self._empty_return
        scope, self._scopes = self._scopes, self._scopes + 1
        self.notes.evidence.parents[scope] = self._scope
        method = self._in_class
        self._region, self._in_class, self._returns, self._empty_return = place, False, [], False
        self._parameters(node.params, scope, method)
        self.expressions.scope, self.expressions.region = scope, self._region
        self._suite(node.body, indent)
        body = self.notes.place(node.body)
        self.notes.functions.append(
            Function(
                node.name.value,
                place,
                Place(place.start, body.start),
                body,
                tuple(self._returns),
                self._empty_return or not self._returns,
            )
        )
        self.expressions.scope, self._region, self._in_class, self._returns, self._empty_return = outside
        self.expressions.region = self._region

    def _parameters(self, parameters: cst.Parameters, scope: Scope, method: bool) -> None:
        """Defaults belong to the scope outside, names to ``scope``."""
        plain = [*parameters.posonly_params, *parameters.params, *parameters.kwonly_params]
        for number, parameter in enumerate(plain):
            name = parameter.name.value
            itself = method and number == 0
            self.notes.bind(scope, name, self._region, settable=not itself, parameter=not itself)
            if parameter.annotation is not None:
                self.notes.evidence.annotate(scope, name, parameter.annotation.annotation)
            if parameter.default is not None:
                self._see(parameter.default, FREE)
        for starred in (parameters.star_arg, parameters.star_kwarg):
            if isinstance(starred, cst.Param):
                self.notes.bind(scope, starred.name.value, self._region)
