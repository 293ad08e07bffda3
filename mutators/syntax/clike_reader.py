"""From a tree of tree-sitter's grammars of C and C++ to what an outline is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from tree_sitter import Node

from mutators.syntax.clike_kinds import Kinds, Name, below, declared, inside, place_of, text_of
from mutators.syntax.clike_loops import loop
from mutators.syntax.clike_words import (
    BOUND,
    DECIMAL,
    FREE,
    INDEX,
    LOOSE,
    OPERAND,
    OPERATORS,
    STATEMENTS,
    TERMS,
    TEST,
    Slot,
    kind_of_type,
)
from mutators.syntax.outline import Binding, Expression, Function, Kind, Literal, Loop, Operator, Place, Statement

TERM_BYTES_MAX = 60


@dataclass
class Reader:
    """Walks the tree once; what was found is in its lists."""

    text: bytes
    expressions: list[Expression] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    literals: list[Literal] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    kinds: Kinds = field(default_factory=Kinds)
    functions: list[Function] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    reads: list[tuple[int, str]] = field(default_factory=list)
    _blocks: int = 0
    _scopes: list[Place] = field(default_factory=list)
    """Where names declared now can be seen: the innermost block last."""
    _returns: list[Place] = field(default_factory=list)
    _empty_return: bool = False

    def walk(self, root: Node) -> None:
        self._scopes.append(Place(0, len(self.text) + 1))
        for child in root.named_children:
            self._outside(child)
        self.reads.sort()

    # -- declarations -------------------------------------------------------------------------------------

    def _outside(self, node: Node) -> None:
        """What stands outside of functions."""
        match node.type:
            case "function_definition":
                self._function(node)
            case "declaration":
                self._declaration(node)
            case "preproc_def":
                self._macro(node)
            case "enumerator":
                name = node.child_by_field_name("name")
                if name is not None:
                    self._bind(text_of(name), node.end_byte, Kind.WHOLE)
            case "ERROR" | "comment":
                pass
            case _:
                for child in node.named_children:
                    self._outside(child)

    def _macro(self, node: Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        number = DECIMAL.fullmatch(text_of(value).strip()) if value is not None else None
        if name is not None and number is not None:
            kind = Kind.WHOLE if number["digits"].isdigit() else Kind.NUMBER
            self._bind(text_of(name), node.end_byte, kind)

    def _function(self, node: Node) -> None:
        body, declarator = node.child_by_field_name("body"), node.child_by_field_name("declarator")
        if body is None or declarator is None or body.type != "compound_statement":
            return
        place = place_of(node)
        outside = self._returns, self._empty_return
        self._returns, self._empty_return = [], False
        name = declared(declarator)
        if name is not None:
            self._bind(text_of(name), node.start_byte, Kind.OTHER)
        self._scopes.append(place)
        for parameter in below(declarator, "parameter_declaration"):
            self._declare(parameter, parameter.child_by_field_name("declarator"), place.start)
        self._block(body)
        self._scopes.pop()
        self.functions.append(
            Function(
                text_of(name) if name is not None else "",
                place,
                Place(place.start, body.start_byte),
                place_of(body),
                tuple(self._returns),
                self._empty_return or not self._returns,
            )
        )
        self._returns, self._empty_return = outside

    def _declaration(self, node: Node, *, settable: bool = True) -> None:
        for declarator in node.children_by_field_name("declarator"):
            inner: Node | None = declarator
            value: Node | None = None
            if declarator.type == "init_declarator":
                inner, value = declarator.child_by_field_name("declarator"), declarator.child_by_field_name("value")
            for size in below(inner, "array_declarator") if inner is not None else ():
                if (number := size.child_by_field_name("size")) is not None:
                    self._see(number, INDEX)
            if value is not None:
                self._see(value, FREE)
            self._declare(node, inner, declarator.end_byte, settable=settable)

    def _declare(self, node: Node, declarator: Node | None, start: int, *, settable: bool = True) -> None:
        """A name with the type that ``node`` gives it."""
        name = declared(declarator) if declarator is not None else None
        words = node.child_by_field_name("type")
        if name is None or words is None or declarator is None:
            return
        kind = kind_of_type(text_of(words))
        parts = {declarator.type, *(n.type for n in inside(declarator))}
        constant = any(text_of(q) in ("const", "constexpr") for q in node.children if q.type == "type_qualifier")
        if parts & {"pointer_declarator", "array_declarator", "function_declarator"}:
            self._bind(text_of(name), start, Kind.OTHER, element=kind)
        else:
            self._bind(text_of(name), start, kind, settable=settable and not constant)

    def _bind(self, name: str, start: int, kind: Kind, *, element: Kind = Kind.OTHER, settable: bool = False) -> None:
        visible = Place(start, self._scopes[-1].end)
        self.kinds.names.append(Name(Binding(name, visible, kind, settable=settable), element))

    # -- statements ---------------------------------------------------------------------------------------

    def _block(self, node: Node) -> None:
        """The statements in braces."""
        block = self._blocks
        self._blocks += 1
        self._scopes.append(place_of(node))
        for child in node.named_children:
            self._statement(child, block)
        self._scopes.pop()

    def _statement(self, node: Node, block: int, *, bare: bool = False) -> None:  # noqa: PLR0912 - a table of cases
        if node.type in STATEMENTS or node.type == "declaration":
            self.statements.append(self._noted(node, block, bare))
        match node.type:
            case "compound_statement":
                self._block(node)
            case "declaration":
                self._declaration(node)
            case "expression_statement":
                for child in node.named_children:
                    self._enter(child)
            case "return_statement":
                values = [child for child in node.named_children if child.type != "comment"]
                self._empty_return |= not values
                for value in values:
                    self._returns.append(place_of(value))
                    self._see(value, FREE)
            case "for_statement":
                self._for(node)
            case "if_statement" | "while_statement" | "do_statement" | "switch_statement" | "for_range_loop":
                self._branch(node)
            case "else_clause" | "labeled_statement" | "case_statement":
                for child in node.named_children:
                    if child.type in STATEMENTS:
                        self._statement(child, self._blocks, bare=node.type != "case_statement")
                self._blocks += 1
            case "ERROR":
                pass
            case _:
                pass

    def _noted(self, node: Node, block: int, bare: bool) -> Statement:
        place = place_of(node)
        start = self.text.rfind(b"\n", 0, place.start) + 1
        end = self.text.find(b"\n", place.end)
        end = len(self.text) if end < 0 else end
        line = self.text[start : place.start]
        indent = line[: len(line) - len(line.lstrip())]
        own = not line.strip() and not self.text[place.end : end].strip()
        return Statement(
            place,
            outer=Place(start, min(end + 1, len(self.text))) if own else place,
            after=place.end,
            block=block,
            indent=indent.decode(),
            form=node.type,
            alone=bare,
            fixed=node.type == "declaration" or node.has_error,
            roomy=not bare,
        )

    def _branch(self, node: Node) -> None:
        """What has a condition, or something to go through, and statements."""
        self._scopes.append(place_of(node))
        if node.type == "for_range_loop":
            through = node.child_by_field_name("right")
            if through is not None:
                self._enter(through)
            self._declare(node, node.child_by_field_name("declarator"), node.start_byte, settable=False)
        condition = node.child_by_field_name("condition")
        if condition is not None:
            for child in condition.named_children:
                if child.type == "declaration":
                    self._declaration(child)
                elif node.type == "switch_statement":
                    self._enter(child)
                else:
                    self._see(child, TEST)
        for name in ("body", "consequence", "alternative"):
            inner = node.child_by_field_name(name)
            if inner is not None:
                self._inner(inner)
        self._scopes.pop()

    def _inner(self, node: Node) -> None:
        """The statement that a loop or a branch consists of."""
        if node.type == "compound_statement":
            self._block(node)
        else:
            self._blocks += 1
            self._statement(node, self._blocks, bare=True)

    def _for(self, node: Node) -> None:
        self._scopes.append(place_of(node))
        start, test = node.child_by_field_name("initializer"), node.child_by_field_name("condition")
        update, body = node.child_by_field_name("update"), node.child_by_field_name("body")
        if start is not None and start.type == "declaration":
            self._declaration(start, settable=False)
        elif start is not None:
            self._enter(start)
        if test is not None and test.type == "binary_expression":
            self._operator(test)
            left, right = test.child_by_field_name("left"), test.child_by_field_name("right")
            if left is not None and right is not None:
                self._enter(left)
                self._see(right, BOUND)
        elif test is not None:
            self._see(test, TEST)
        if update is not None:
            self._enter(update)
        if body is not None and not body.is_missing:
            self.loops.append(loop(node, body))
            self._inner(body)
        self._scopes.pop()

    # -- expressions --------------------------------------------------------------------------------------

    def _see(self, node: Node, slot: Slot = OPERAND) -> None:
        """An expression that may be replaced, and what is in it."""
        if node.type == "parenthesized_expression":
            for child in node.named_children:
                self._see(child, Slot(free=True, whole=slot.whole, test=slot.test))
            return
        place = place_of(node)
        if node.type not in ("initializer_list", "comment", "ERROR"):
            kind = self.kinds.kind(node)
            kind = Kind.TRUTH if slot.test and kind is Kind.OTHER else kind
            kind = Kind.WHOLE if slot.whole and kind is Kind.NUMBER else kind
            term = node.type in TERMS and place.end - place.start <= TERM_BYTES_MAX
            self.expressions.append(
                Expression(place, kind, node.type, node.type in LOOSE, slot.free, term, slot.bound, slot.test)
            )
        self._enter(node)

    def _enter(self, node: Node) -> None:  # noqa: PLR0912 - a table of cases
        """What is in an expression that must itself stay."""
        match node.type:
            case "identifier":
                self.reads.append((node.start_byte, text_of(node)))
            case "number_literal":
                number = DECIMAL.fullmatch(text_of(node))
                if number is not None:
                    self.literals.append(Literal(place_of(node), number["digits"].isdigit(), number["suffix"]))
            case "binary_expression" | "unary_expression" | "conditional_expression" | "cast_expression":
                self._operator(node)
                for child in node.named_children:
                    if child.type != "type_descriptor":
                        self._see(child)
            case "assignment_expression":
                self._operator(node)
                left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
                if left is not None and right is not None:
                    self._enter(left)
                    self._see(right, FREE)
            case "update_expression":
                self._operator(node)
                for child in node.named_children:
                    self._enter(child)
            case "call_expression":
                self._call(node)
            case "subscript_expression":
                self._subscript(node)
            case "lambda_expression" | "field_identifier" | "type_descriptor" | "sizeof_expression" | "ERROR":
                pass
            case "initializer_list":
                for child in node.named_children:
                    self._see(child, FREE)
            case _:
                for child in node.named_children:
                    self._enter(child)

    def _call(self, node: Node) -> None:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is not None:
            self._enter(function)
        if arguments is not None:
            for argument in arguments.named_children:
                self._see(argument, FREE)

    def _subscript(self, node: Node) -> None:
        base = node.child_by_field_name("argument")
        indices = node.child_by_field_name("indices") or node.child_by_field_name("index")
        if base is not None:
            self._enter(base)
        if indices is not None:
            for index in indices.named_children if indices.type == "subscript_argument_list" else [indices]:
                self._see(index, INDEX)

    def _operator(self, node: Node) -> None:
        sign = node.child_by_field_name("operator")
        if sign is not None and (choices := OPERATORS.get(text_of(sign))):
            pointers = text_of(sign) in ("+", "-") and self.kinds.kind(node) is Kind.OTHER
            whole = text_of(sign) in ("%", "<<", ">>", "&", "|", "^")
            if not pointers and not (whole and self.kinds.kind(node) is Kind.NUMBER):
                self.operators.append(Operator(place_of(sign), choices))
