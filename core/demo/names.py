"""Word lists for Vietnamese people, companies, and what salespeople write about them.

Pools that are drawn from uniformly repeat their frequent entries: `weighted` spells a table of weights out.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def weighted(weights: Mapping[str, int]) -> tuple[str, ...]:
    """Return each word as often as its weight says, so that a uniform draw follows the weights."""
    return tuple(word for word, weight in weights.items() for _ in range(weight))


def ascii_slug(text: str) -> str:
    """Return the letters and digits of a Vietnamese text in lower case, without accents or spaces."""
    bare = unicodedata.normalize("NFD", text.lower().replace("đ", "d"))
    return "".join(letter for letter in bare if letter.isascii() and letter.isalnum())


FAMILIES: Final = weighted({
    "Nguyễn": 62, "Trần": 22, "Lê": 19, "Phạm": 14, "Hoàng": 6, "Huỳnh": 5, "Phan": 9, "Vũ": 5, "Võ": 5,
    "Đặng": 5, "Bùi": 5, "Đỗ": 4, "Hồ": 3, "Ngô": 3, "Dương": 3, "Lý": 2, "Đinh": 2, "Đoàn": 2, "Trịnh": 2,
    "Mai": 2, "Đào": 2, "Lâm": 2, "Trương": 3, "Phùng": 1, "Tô": 1, "Hà": 1, "Cao": 1, "Châu": 1, "Tạ": 1,
    "Thái": 1, "Quách": 1, "Lương": 2, "Vương": 1, "Kiều": 1, "Tôn Thất": 1, "Nghiêm": 1, "La": 1, "Chu": 1,
    "Bạch": 1, "Lưu": 1, "Ông": 1,
})  # fmt: skip

MALE_MIDDLES: Final = weighted({
    "Văn": 14, "Đức": 6, "Minh": 6, "Quốc": 5, "Hữu": 5, "Công": 3, "Đình": 4, "Xuân": 3, "Thanh": 3,
    "Quang": 4, "Ngọc": 3, "Tuấn": 2, "Hoàng": 3, "Gia": 2, "Trọng": 2, "Thế": 2, "Anh": 2, "Viết": 1,
    "Bá": 1, "Duy": 2,
})  # fmt: skip
MALE_NAMES: Final = (
    "Anh", "Bảo", "Bình", "Chiến", "Cường", "Duy", "Dũng", "Đạt", "Đức", "Giang", "Hải", "Hào", "Hiếu",
    "Hòa", "Hoàng", "Huy", "Hùng", "Hưng", "Khánh", "Khang", "Khoa", "Kiên", "Lâm", "Linh", "Long", "Lộc",
    "Mạnh", "Minh", "Nam", "Nghĩa", "Nguyên", "Nhân", "Phát", "Phong", "Phú", "Phúc", "Phước", "Quân",
    "Quang", "Quý", "Sang", "Sơn", "Tài", "Tâm", "Tân", "Thắng", "Thành", "Thái", "Thịnh", "Thuận", "Tiến",
    "Toàn", "Trí", "Trung", "Trường", "Tú", "Tuấn", "Tùng", "Việt", "Vinh", "Vũ", "Vương",
)  # fmt: skip
FEMALE_MIDDLES: Final = weighted({
    "Thị": 16, "Thị Thu": 2, "Thị Kim": 2, "Thị Ngọc": 3, "Thị Thanh": 3, "Thị Hồng": 2, "Ngọc": 5,
    "Thu": 3, "Thanh": 4, "Minh": 3, "Phương": 4, "Hồng": 3, "Kim": 3, "Bích": 2, "Mỹ": 2, "Quỳnh": 2,
    "Khánh": 2, "Diệu": 1, "Thùy": 3, "Hoài": 1, "Bảo": 2, "Tường": 1,
})  # fmt: skip
FEMALE_NAMES: Final = (
    "An", "Anh", "Ánh", "Châu", "Chi", "Diễm", "Dung", "Duyên", "Giang", "Hà", "Hạnh", "Hằng", "Hân",
    "Hiền", "Hoa", "Hồng", "Huệ", "Huyền", "Hương", "Hường", "Khanh", "Lan", "Lệ", "Liên", "Linh", "Loan",
    "Ly", "Mai", "My", "Mỹ", "Nga", "Ngân", "Ngọc", "Nguyệt", "Nhi", "Nhung", "Như", "Oanh", "Phương",
    "Phượng", "Quyên", "Quỳnh", "Tâm", "Thảo", "Thắm", "Thơ", "Thu", "Thủy", "Thúy", "Thư", "Thương",
    "Tiên", "Trà", "Trang", "Trâm", "Trân", "Trinh", "Trúc", "Tuyết", "Uyên", "Vân", "Vy", "Xuân", "Yến",
)  # fmt: skip

BRAND_FIRST: Final = (
    "An", "Anh", "Bách", "Bảo", "Bình", "Cường", "Đại", "Đông", "Đức", "Gia", "Hà", "Hải", "Hoa", "Tâm",
    "Hoàng", "Hồng", "Kỳ", "Huy", "Hưng", "Khải", "Khang", "Khánh", "Kiến", "Kim", "Lạc", "Lâm", "Linh",
    "Long", "Mai", "Mạnh", "Minh", "Mỹ", "Nam", "Ngọc", "Nhật", "Phong", "Phú", "Phúc", "Phương", "Quang",
    "Quốc", "Sao", "Sơn", "Trí", "Tân", "Thái", "Thế", "Thành", "Thăng", "Thiên", "Thịnh", "Thuận",
    "Tiến", "Toàn", "Trường", "Tuấn", "Vạn", "Việt", "Vĩnh", "Xuân",
)  # fmt: skip
BRAND_LAST: Final = (
    "An", "Đăng", "Bảo", "Bình", "Châu", "Cơ", "Dũng", "Dương", "Đạt", "Điền", "Gia", "Giang", "Hà", "Hải",
    "Hào", "Hoa", "Hiệp", "Hưng", "Khang", "Khánh", "Khoa", "Kỳ", "Lâm", "Lộc", "Long", "Lợi", "Mai", "Minh",
    "Nam", "Nghĩa", "Ngọc", "Nguyên", "Nhân", "Nhật", "Phát", "Phong", "Phú", "Phúc", "Phước", "Quang",
    "Sinh", "Sơn", "Tài", "Tâm", "Tân", "Thắng", "Thành", "Thịnh", "Thuận", "Tiến", "Tín", "Trí", "Trung",
    "Tường", "Uy", "Vân", "Việt", "Vinh", "Vũ", "Vượng",
)  # fmt: skip

LEGAL_FORMS: Final = weighted({
    "Công ty TNHH": 30, "Công ty TNHH MTV": 10, "Công ty TNHH Một Thành Viên": 4, "CÔNG TY TNHH": 5,
    "Công ty Cổ phần": 20, "Công ty CP": 7, "CTCP": 2, "Doanh nghiệp tư nhân": 4, "DNTN": 8,
    "Hợp tác xã": 3, "HTX": 3,
})  # fmt: skip
#: What somebody puts behind a name because the form has no better field.
LONG_NOTE: Final = (
    "(xuất hóa đơn cho Chi nhánh Công ty Trách nhiệm hữu hạn Một thành viên Đầu tư Thương mại Dịch vụ Xuất nhập khẩu)"
)

#: An industry, the points of its group, and what its companies say they do.
INDUSTRIES: Final[tuple[tuple[str, int, tuple[str, ...]], ...]] = (
    ("Thương mại", 5, ("Thương mại", "Thương mại Dịch vụ", "Thương mại Tổng hợp", "Phân phối")),
    ("Xây dựng", 15, ("Xây dựng", "Đầu tư Xây dựng", "Tư vấn Thiết kế", "Nội thất", "Vật liệu Xây dựng")),
    ("Sản xuất", 20, ("Sản xuất", "Cơ khí", "Bao bì", "Nhựa", "May mặc", "Dệt may", "Gỗ", "Điện tử")),
    ("Vận tải - Kho bãi", 10, ("Vận tải", "Logistics", "Giao nhận", "Kho vận")),
    ("Công nghệ thông tin", 25, ("Công nghệ", "Phần mềm", "Giải pháp Số", "Viễn thông")),
    ("Nông nghiệp", 10, ("Nông sản", "Nông nghiệp", "Thủy sản", "Giống Cây trồng", "Thức ăn Chăn nuôi")),
    ("Nhà hàng - Khách sạn", 10, ("Nhà hàng", "Khách sạn", "Du lịch", "Lữ hành", "Ẩm thực")),
    ("Y tế - Dược", 20, ("Dược phẩm", "Thiết bị Y tế", "Phòng khám")),
    ("Giáo dục", 15, ("Giáo dục", "Đào tạo", "Anh ngữ")),
    ("Bất động sản", 20, ("Bất động sản", "Địa ốc", "Phát triển Đô thị")),
)  # fmt: skip

REGION_FAMILY, AGE_FAMILY, INDUSTRY_FAMILY = "Vùng", "Độ tuổi", "Ngành nghề"
REGION_POINTS: Final = (("Miền Bắc", 10), ("Miền Trung", 8), ("Miền Nam", 10))
#: Upper age of the group, its name, its points.
AGE_GROUPS: Final = (
    (25, "15-25", 5), (35, "26-35", 10), (45, "36-45", 15), (60, "46-60", 10), (200, "Trên 60", 5),
)  # fmt: skip

STREETS: Final = (
    "Nguyễn Trãi", "Lê Lợi", "Trần Hưng Đạo", "Hai Bà Trưng", "Lý Thường Kiệt", "Nguyễn Huệ",
    "Phan Chu Trinh", "Điện Biên Phủ", "Cách Mạng Tháng Tám", "Nguyễn Văn Linh", "Võ Văn Kiệt", "Lê Duẩn",
    "Hùng Vương", "Quang Trung", "Nguyễn Thị Minh Khai", "Phạm Văn Đồng", "Trường Chinh", "Hoàng Hoa Thám",
    "Lê Hồng Phong", "Ngô Quyền", "Bạch Đằng", "Phan Đình Phùng", "Nguyễn Tri Phương", "Tôn Đức Thắng",
    "Đường 3/2", "Nguyễn Du", "Lê Thánh Tôn", "Hoàng Quốc Việt", "Xuân Thủy", "Kim Mã", "Võ Nguyên Giáp",
    "Lạc Long Quân", "Phan Bội Châu", "Trần Phú",
)  # fmt: skip

MAIL_DOMAINS: Final = weighted({
    "gmail.com": 78, "yahoo.com": 6, "yahoo.com.vn": 4, "outlook.com": 4, "hotmail.com": 4, "icloud.com": 4,
})  # fmt: skip
COMPANY_TLDS: Final = weighted({"com.vn": 8, "vn": 7, "com": 7, "net.vn": 1, "net": 1})
MAILBOXES: Final = weighted({"info": 8, "lienhe": 4, "contact": 4, "kinhdoanh": 3, "sales": 3, "ketoan": 2, "hotro": 1})
MOBILE_PREFIXES: Final = weighted({
    "032": 3, "033": 3, "034": 3, "035": 4, "036": 3, "037": 3, "038": 4, "039": 3, "086": 3, "096": 4,
    "097": 6, "098": 7, "081": 2, "082": 2, "083": 2, "084": 2, "085": 2, "088": 2, "091": 7, "094": 5,
    "070": 2, "076": 2, "077": 2, "078": 2, "079": 2, "089": 1, "090": 7, "093": 5, "056": 1, "058": 1,
    "092": 1, "059": 1, "099": 1, "087": 1,
})  # fmt: skip

SOURCES: Final = weighted({
    "Website": 20, "Facebook": 20, "Giới thiệu": 18, "Zalo": 14, "Triển lãm": 5, "Google Ads": 7,
    "Telesale": 6, "TikTok": 4, "Hội thảo": 3, "Khách cũ": 3,
})  # fmt: skip
RELATIONSHIPS: Final = weighted({
    "Khách hàng": 50, "Khách hàng tiềm năng": 28, "Đối tác": 8, "Đại lý": 8, "Nhà cung cấp": 6,
})  # fmt: skip
LEVELS: Final = weighted({"Mới": 30, "Quan tâm": 25, "Đã tiếp cận": 25, "Tạm dừng": 8, "Khác": 4})
SIGNED_LEVEL: Final = "Đã ký hợp đồng"
TAGS: Final = (
    "VIP", "Tiềm năng", "Khách sỉ", "Khách lẻ", "Cần gọi lại", "Ưu tiên", "Hợp đồng năm", "Công nợ",
    "Đã gửi báo giá", "Quan tâm khuyến mãi", "Zalo OA", "Xuất hóa đơn", "Giao hàng tận nơi", "Khó tính",
    "Mua lại",
)  # fmt: skip
DESCRIPTIONS: Final = (
    "Khách quen, thanh toán đúng hạn.", "Quan tâm gói dịch vụ theo năm, hẹn gọi lại sau Tết.",
    "Đã gửi báo giá, đang chờ phản hồi của ban giám đốc.", "Ưu tiên liên hệ qua Zalo sau 17h.",
    "Cần xuất hóa đơn VAT, công nợ 30 ngày.", "Gặp tại triển lãm, có nhu cầu mở rộng chi nhánh.",
    "Mua nhỏ lẻ nhiều lần, nên chào chương trình khách hàng thân thiết.", "Đang dùng sản phẩm của đối thủ.",
    "Chỉ nhận hàng buổi sáng.\nGọi trước khi giao 30 phút.", "Yêu cầu hợp đồng khung, giá cạnh tranh 😊",
    "Người quyết định hay đi công tác, nên đặt lịch trước 1 tuần.", "Khách chuyển từ hệ thống cũ sang.",
)  # fmt: skip
COMPANY_TITLES: Final = weighted({
    "Giám đốc": 8, "Phó Giám đốc": 4, "Tổng Giám đốc": 2, "Kế toán trưởng": 6, "Kế toán": 4,
    "Trưởng phòng Mua hàng": 5, "Nhân viên mua hàng": 5, "Trưởng phòng Kinh doanh": 3,
    "Trưởng phòng Hành chính": 3, "Thủ kho": 2, "Trợ lý Giám đốc": 2, "Kỹ thuật": 3,
})  # fmt: skip
PRIVATE_TITLES: Final = ("Vợ/Chồng", "Con", "Anh/Chị/Em", "Người giới thiệu", "Trợ lý", "Người nhận hàng")

DEALS: Final = (
    "Cung cấp phần mềm quản lý", "Gói bảo trì 12 tháng", "Hợp đồng cung ứng quý", "Nâng cấp hệ thống",
    "Đơn hàng thử nghiệm", "Tư vấn triển khai", "Mở rộng chi nhánh", "Gia hạn dịch vụ", "Lắp đặt thiết bị",
    "Đào tạo nhân viên", "Đồng phục công ty", "Quà tặng Tết", "Thiết kế website", "Cải tạo văn phòng",
    "Vận chuyển tuyến Bắc - Nam",
)  # fmt: skip
LOST_REASONS: Final = weighted({
    "Giá cao": 8, "Chọn đối thủ": 6, "Hoãn ngân sách": 4, "Không còn nhu cầu": 5, "Không liên lạc được": 4,
    "Sản phẩm chưa phù hợp": 3,
})  # fmt: skip
EMOJI: Final = ("🌸", "❤️", "🍀", "🏡", "☕", "👨‍👩‍👧", "🇻🇳")
