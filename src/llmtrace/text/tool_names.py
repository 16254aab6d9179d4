"""Splits tool names into words, and classifies tools by these words: does the tool only read, does it wait for something?"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from llmtrace.text.patterns import lazy_pattern

_WORD = lazy_pattern(r"[A-ZÀ-ÖØ-Þ]+(?![a-zß-öø-ÿ])|[A-ZÀ-ÖØ-Þ]?[a-zß-öø-ÿ]+|[^\W\d_A-Za-zÀ-ÖØ-öø-ÿ]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


READING: Final = _words(
    """analyse analyze ask assess balance browse calculate calculator cat check classify compare compute convert count
    describe detail details detect display estimate evaluate explain explore extract fetch filter find forecast get grep
    head help history identify info information inspect list load locate lookup look ls measure monitor open parse peek
    plan preview price prices progress query read recall recommend retrieve review route scan score scrape search
    see select show sort stat state status suggest summarise summarize tail think trace track translate validate verify
    view visit weather wikipedia
    abfrage abfragen anzeigen auflisten berechnen ermitteln finden holen lesen nachschlagen pruefen prüfen suche suchen
    buscar calcular comparar consultar encontrar leer ler listar mostrar obtener obter pesquisar procurar ver verificar
    afficher calculer chercher comparer consulter lire lister obtenir recherche rechercher trouver verifier vérifier
    calcolare cerca cercare consultare elencare leggere mostra trovare bekijken berekenen lezen ophalen opvragen tonen zoeken
    найти поиск показать получить проверить прочитать pobierz pokaż sprawdź szukaj wyszukaj znajdź
    listele oku sorgula cari lihat بحث ابحث استعلام عرض"""
)
"""Words in the names of tools that read: verbs of reading, and nouns for read data, for names without a verb. English, German,
Spanish and Portuguese, French, Italian and Dutch, Russian and Polish, Turkish, Indonesian, Arabic."""

_SPACELESS_READING: Final = _words(
    "検索 照会 参照 取得 一覧 閲覧 表示 計算 查询 查找 查看 搜索 获取 读取 列出 计算 검색 조회 목록 계산"
)
_SPACELESS_CHANGING: Final = _words(
    "作成 削除 更新 変更 登録 送信 キャンセル 取消 创建 删除 修改 发送 생성 삭제 수정 변경 전송 취소"
)
"""Verbs of change in languages without spaces between words; `_SPACELESS_READING`: words of reading. Matched as substrings."""

CHANGING: Final = _words(
    """accept activate add adjust allocate append apply approve assign attach authorize cancel close commit confirm connect
    create deactivate delete deliver disable dispatch edit enable enroll escalate exec execute extend insert install join
    kill launch make modify notify overwrite pay perform publish put redeem register reject remove rename renew reorder
    replace reschedule reserve reset resolve restart restore revert revoke rotate save send submit subscribe suspend
    terminate toggle trigger unlock unsubscribe update upgrade upload upsert withdraw write
    anlegen bezahlen buchen erstellen löschen loeschen senden stornieren überweisen actualizar atualizar borrar cancelar crear
    criar eliminar enviar excluir guardar pagar reservar salvar annuler créer envoyer payer réserver supprimer"""
)
"""Verbs of change that are not also nouns. A name with one of them, at any position, is not a reading name."""

_ALSO_NOUNS: Final = _words(
    """archive block book call change charge clear complete copy correct credit debit deploy do drop email exchange fill fix
    forward grant hold import increase invite issue lock log mail mark merge message move order patch place post purchase
    push record refund release reply report request return run schedule sell set share ship sign start stop store swap
    sync transfer"""
)
"""Words that are verbs of change only at the beginning of a name or after a joining word: ``order_book`` changes something,
``get_order`` does not."""

_JOINING: Final = _words("and or then")

POLLING: Final = _words("await heartbeat health logs monitor output ping poll progress state status tail track wait watch")
"""Words in the names of tools that are called repeatedly until something has happened."""


@lru_cache(maxsize=4096)
def split_name(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: ``getOrder_byID2`` gives ``get order by id``."""
    return tuple(word.casefold() for word in _WORD.findall(name))


@lru_cache(maxsize=4096)
def is_reading_name(name: str) -> bool:
    """Return True if the name has a word of reading and no verb of change. A name with neither counts as a change."""
    words = split_name(name)
    reads = not READING.isdisjoint(words) or any(word in name for word in _SPACELESS_READING)
    if not reads or not CHANGING.isdisjoint(words) or any(word in name for word in _SPACELESS_CHANGING):
        return False
    return not any(
        word in _ALSO_NOUNS and (position == 0 or words[position - 1] in _JOINING) for position, word in enumerate(words)
    )


@lru_cache(maxsize=4096)
def is_polling_name(name: str) -> bool:
    """Return True if the name says that the tool waits for something or reports progress."""
    return not POLLING.isdisjoint(split_name(name))
