"""Vietnamese places with their telephone, postal and tax office codes.

The three levels (province, district, ward) are those in force until 30 June 2025: addresses in existing
customer bases look like that. Districts and wards are a selection, each one real.
"""

from __future__ import annotations

from dataclasses import dataclass

NORTH, CENTRE, SOUTH = "Miền Bắc", "Miền Trung", "Miền Nam"


@dataclass(frozen=True, slots=True)
class Province:
    """A province, its codes and its districts.

    `weight` is its share of customers against the others, `area` the landline prefix with its zero,
    `postal` the five-digit code of its centre, `tax` the first two digits of tax codes issued there.

    `districts` are pairs of a district and its wards, separated by commas.
    """

    name: str
    region: str
    weight: int
    area: str
    postal: str
    tax: str
    districts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A ward in its district and province; `tail` is how an address ends there."""

    province: Province
    district: str
    ward: str
    tail: str


def places(province: Province) -> tuple[Place, ...]:
    """Return every ward of a province as a place."""
    return tuple(
        Place(province, district, ward, f"{ward}, {district}, {province.name}")
        for district, wards in province.districts
        for ward in wards.split(", ")
    )


PROVINCES = (
    Province("Hà Nội", NORTH, 210, "024", "10000", "01", (
        ("Quận Ba Đình", "Phường Cống Vị, Phường Ngọc Hà, Phường Liễu Giai, Phường Quán Thánh"),
        ("Quận Hoàn Kiếm", "Phường Hàng Bạc, Phường Hàng Đào, Phường Lý Thái Tổ, Phường Cửa Đông"),
        ("Quận Tây Hồ", "Phường Xuân La, Phường Quảng An, Phường Nhật Tân, Phường Thụy Khuê"),
        ("Quận Cầu Giấy", "Phường Dịch Vọng Hậu, Phường Dịch Vọng, Phường Nghĩa Đô, Phường Mai Dịch"),
        ("Quận Đống Đa", "Phường Láng Hạ, Phường Ô Chợ Dừa, Phường Cát Linh, Phường Văn Miếu"),
        ("Quận Hai Bà Trưng", "Phường Lê Đại Hành, Phường Thanh Nhàn, Phường Phố Huế, Phường Nguyễn Du"),
        ("Quận Hoàng Mai", "Phường Định Công, Phường Đại Kim, Phường Tương Mai, Phường Vĩnh Hưng"),
        ("Quận Thanh Xuân", "Phường Nhân Chính, Phường Khương Trung, Phường Phương Liệt, Phường Hạ Đình"),
        ("Quận Hà Đông", "Phường Mộ Lao, Phường Văn Quán, Phường La Khê, Phường Vạn Phúc"),
        ("Quận Nam Từ Liêm", "Phường Mỹ Đình 1, Phường Mỹ Đình 2, Phường Mễ Trì, Phường Cầu Diễn"),
        ("Quận Long Biên", "Phường Ngọc Lâm, Phường Bồ Đề, Phường Gia Thụy, Phường Đức Giang"),
        ("Huyện Đông Anh", "Thị trấn Đông Anh, Xã Nguyên Khê, Xã Uy Nỗ, Xã Bắc Hồng"),
        ("Huyện Gia Lâm", "Thị trấn Yên Viên, Xã Ninh Hiệp, Xã Phù Đổng"),
    )),
    Province("TP. Hồ Chí Minh", SOUTH, 265, "028", "70000", "03", (
        ("Quận 1", "Phường Bến Nghé, Phường Bến Thành, Phường Đa Kao, Phường Tân Định"),
        ("Quận 3", "Phường Võ Thị Sáu, Phường 4, Phường 5, Phường 9, Phường 14"),
        ("Quận 5", "Phường 4, Phường 8, Phường 9, Phường 12"),
        ("Quận 7", "Phường Tân Phong, Phường Tân Phú, Phường Tân Hưng, Phường Phú Thuận, Phường Tân Quy"),
        ("Quận 10", "Phường 12, Phường 14, Phường 15, Phường 8"),
        ("Quận 12", "Phường Thạnh Lộc, Phường Hiệp Thành, Phường Thới An, Phường Trung Mỹ Tây"),
        ("Quận Bình Thạnh", "Phường 11, Phường 13, Phường 25, Phường 26"),
        ("Quận Gò Vấp", "Phường 6, Phường 10, Phường 14, Phường 15, Phường 17"),
        ("Quận Phú Nhuận", "Phường 2, Phường 5, Phường 7, Phường 9"),
        ("Quận Tân Bình", "Phường 2, Phường 4, Phường 12, Phường 13"),
        ("Quận Tân Phú", "Phường Tây Thạnh, Phường Sơn Kỳ, Phường Tân Quý, Phường Hòa Thạnh"),
        ("Quận Bình Tân", "Phường Tân Tạo, Phường Bình Trị Đông, Phường Bình Trị Đông B"),
        ("Thành phố Thủ Đức", "Phường Linh Trung, Phường Linh Chiểu, Phường Hiệp Bình Chánh"),
        ("Huyện Bình Chánh", "Xã Vĩnh Lộc A, Xã Bình Hưng, Xã Lê Minh Xuân, Thị trấn Tân Túc"),
        ("Huyện Hóc Môn", "Thị trấn Hóc Môn, Xã Đông Thạnh, Xã Xuân Thới Sơn"),
    )),
    Province("Đà Nẵng", CENTRE, 42, "0236", "50000", "04", (
        ("Quận Hải Châu", "Phường Thạch Thang, Phường Thanh Bình, Phường Phước Ninh, Phường Nam Dương"),
        ("Quận Thanh Khê", "Phường Vĩnh Trung, Phường Tân Chính, Phường Chính Gián, Phường An Khê"),
        ("Quận Sơn Trà", "Phường An Hải Bắc, Phường Phước Mỹ, Phường Mân Thái"),
        ("Quận Cẩm Lệ", "Phường Khuê Trung, Phường Hòa Xuân, Phường Hòa An"),
        ("Quận Liên Chiểu", "Phường Hòa Minh, Phường Hòa Khánh Bắc"),
    )),
    Province("Hải Phòng", NORTH, 32, "0225", "04000", "02", (
        ("Quận Hồng Bàng", "Phường Minh Khai, Phường Hoàng Văn Thụ, Phường Sở Dầu"),
        ("Quận Ngô Quyền", "Phường Máy Tơ, Phường Cầu Đất, Phường Lạch Tray, Phường Đông Khê"),
        ("Quận Lê Chân", "Phường An Biên, Phường Hàng Kênh, Phường Trại Cau"),
        ("Quận Hải An", "Phường Cát Bi, Phường Đằng Lâm"),
    )),
    Province("Cần Thơ", SOUTH, 22, "0292", "94000", "18", (
        ("Quận Ninh Kiều", "Phường Xuân Khánh, Phường Cái Khế, Phường An Hòa, Phường Tân An"),
        ("Quận Cái Răng", "Phường Hưng Phú, Phường Lê Bình, Phường Phú Thứ"),
        ("Quận Ô Môn", "Phường Châu Văn Liêm, Phường Phước Thới"),
    )),
    Province("Bình Dương", SOUTH, 50, "0274", "75000", "37", (
        ("Thành phố Thủ Dầu Một", "Phường Phú Cường, Phường Phú Lợi, Phường Hiệp Thành, Phường Chánh Nghĩa"),
        ("Thành phố Thuận An", "Phường Lái Thiêu, Phường Thuận Giao, Phường Bình Hòa"),
        ("Thành phố Dĩ An", "Phường Dĩ An, Phường Đông Hòa, Phường Tân Đông Hiệp"),
    )),
    Province("Đồng Nai", SOUTH, 40, "0251", "76000", "36", (
        ("Thành phố Biên Hòa", "Phường Trảng Dài, Phường Tân Phong, Phường Quyết Thắng, Phường Long Bình"),
        ("Huyện Long Thành", "Thị trấn Long Thành, Xã An Phước, Xã Long Đức"),
        ("Huyện Nhơn Trạch", "Xã Long Tân, Xã Phú Hội, Xã Phước Thiền"),
    )),
    Province("Bà Rịa - Vũng Tàu", SOUTH, 18, "0254", "78000", "35", (
        ("Thành phố Vũng Tàu", "Phường 1, Phường 7, Phường Thắng Tam, Phường Rạch Dừa"),
        ("Thành phố Bà Rịa", "Phường Phước Trung, Phường Phước Hiệp, Phường Long Toàn"),
    )),
    Province("Long An", SOUTH, 18, "0272", "82000", "11", (
        ("Thành phố Tân An", "Phường 1, Phường 2, Phường 3, Phường Khánh Hậu"),
        ("Huyện Bến Lức", "Thị trấn Bến Lức, Xã Thanh Phú, Xã Nhựt Chánh"),
        ("Huyện Đức Hòa", "Thị trấn Hậu Nghĩa, Thị trấn Đức Hòa, Xã Đức Lập Hạ"),
    )),
    Province("Bắc Ninh", NORTH, 22, "0222", "16000", "23", (
        ("Thành phố Bắc Ninh", "Phường Suối Hoa, Phường Ninh Xá, Phường Võ Cường, Phường Đại Phúc"),
        ("Thành phố Từ Sơn", "Phường Đông Ngàn, Phường Đồng Kỵ, Phường Trang Hạ"),
    )),
    Province("Hải Dương", NORTH, 16, "0220", "03000", "08", (
        ("Thành phố Hải Dương", "Phường Trần Phú, Phường Lê Thanh Nghị, Phường Quang Trung"),
        ("Thành phố Chí Linh", "Phường Sao Đỏ, Phường Phả Lại"),
    )),
    Province("Hưng Yên", NORTH, 13, "0221", "17000", "09", (
        ("Thành phố Hưng Yên", "Phường Hiến Nam, Phường Lam Sơn, Phường An Tảo"),
        ("Thị xã Mỹ Hào", "Phường Bần Yên Nhân, Phường Nhân Hòa, Phường Dị Sử"),
        ("Huyện Văn Giang", "Thị trấn Văn Giang, Xã Xuân Quan"),
    )),
    Province("Quảng Ninh", NORTH, 17, "0203", "01000", "57", (
        ("Thành phố Hạ Long", "Phường Hồng Gai, Phường Bãi Cháy, Phường Hồng Hải, Phường Cao Xanh"),
        ("Thành phố Cẩm Phả", "Phường Cẩm Trung, Phường Cẩm Tây"),
        ("Thành phố Móng Cái", "Phường Ka Long, Phường Trần Phú"),
    )),
    Province("Nam Định", NORTH, 12, "0228", "07000", "06", (
        ("Thành phố Nam Định", "Phường Trần Hưng Đạo, Phường Cửa Bắc, Phường Lộc Vượng"),
        ("Huyện Hải Hậu", "Thị trấn Yên Định, Thị trấn Cồn, Xã Hải Minh"),
    )),
    Province("Thái Bình", NORTH, 11, "0227", "06000", "10", (
        ("Thành phố Thái Bình", "Phường Lê Hồng Phong, Phường Bồ Xuyên, Phường Kỳ Bá"),
        ("Huyện Tiền Hải", "Thị trấn Tiền Hải, Xã Đông Minh"),
    )),
    Province("Ninh Bình", NORTH, 8, "0229", "08000", "27", (
        ("Thành phố Ninh Bình", "Phường Đông Thành, Phường Tân Thành, Phường Vân Giang"),
        ("Thành phố Tam Điệp", "Phường Bắc Sơn, Phường Trung Sơn"),
    )),
    Province("Vĩnh Phúc", NORTH, 11, "0211", "15000", "25", (
        ("Thành phố Vĩnh Yên", "Phường Liên Bảo, Phường Ngô Quyền, Phường Khai Quang"),
        ("Thành phố Phúc Yên", "Phường Hùng Vương, Phường Trưng Trắc"),
    )),
    Province("Phú Thọ", NORTH, 9, "0210", "35000", "26", (
        ("Thành phố Việt Trì", "Phường Gia Cẩm, Phường Tiên Cát, Phường Nông Trang"),
        ("Huyện Lâm Thao", "Thị trấn Lâm Thao, Xã Tứ Xã"),
    )),
    Province("Thái Nguyên", NORTH, 11, "0208", "24000", "46", (
        ("Thành phố Thái Nguyên", "Phường Hoàng Văn Thụ, Phường Phan Đình Phùng, Phường Tân Lập"),
        ("Thành phố Sông Công", "Phường Thắng Lợi, Phường Mỏ Chè"),
    )),
    Province("Bắc Giang", NORTH, 12, "0204", "26000", "24", (
        ("Thành phố Bắc Giang", "Phường Ngô Quyền, Phường Trần Phú, Phường Lê Lợi"),
        ("Huyện Lạng Giang", "Thị trấn Vôi, Thị trấn Kép, Xã Tân Dĩnh"),
    )),
    Province("Lào Cai", NORTH, 6, "0214", "31000", "53", (
        ("Thành phố Lào Cai", "Phường Cốc Lếu, Phường Kim Tân, Phường Duyên Hải"),
        ("Thị xã Sa Pa", "Phường Sa Pa, Phường Hàm Rồng"),
    )),
    Province("Lạng Sơn", NORTH, 5, "0205", "25000", "49", (
        ("Thành phố Lạng Sơn", "Phường Chi Lăng, Phường Vĩnh Trại, Phường Đông Kinh"),
    )),
    Province("Sơn La", NORTH, 4, "0212", "34000", "55", (
        ("Thành phố Sơn La", "Phường Chiềng Lề, Phường Tô Hiệu, Phường Quyết Thắng"),
        ("Huyện Mộc Châu", "Thị trấn Mộc Châu, Thị trấn NT Mộc Châu"),
    )),
    Province("Thanh Hóa", CENTRE, 20, "0237", "40000", "28", (
        ("Thành phố Thanh Hóa", "Phường Đông Thọ, Phường Ba Đình, Phường Lam Sơn, Phường Điện Biên"),
        ("Thành phố Sầm Sơn", "Phường Trường Sơn, Phường Bắc Sơn"),
        ("Thị xã Bỉm Sơn", "Phường Ba Đình, Phường Ngọc Trạo"),
    )),
    Province("Nghệ An", CENTRE, 18, "0238", "43000", "29", (
        ("Thành phố Vinh", "Phường Hưng Bình, Phường Lê Mao, Phường Quang Trung, Phường Hà Huy Tập"),
        ("Huyện Diễn Châu", "Xã Diễn Thành, Xã Diễn Kỷ"),
    )),
    Province("Hà Tĩnh", CENTRE, 8, "0239", "45000", "30", (
        ("Thành phố Hà Tĩnh", "Phường Bắc Hà, Phường Nam Hà, Phường Tân Giang"),
        ("Thị xã Kỳ Anh", "Phường Hưng Trí, Phường Kỳ Liên"),
    )),
    Province("Quảng Bình", CENTRE, 6, "0232", "47000", "31", (
        ("Thành phố Đồng Hới", "Phường Đồng Phú, Phường Hải Thành, Phường Nam Lý"),
    )),
    Province("Thừa Thiên Huế", CENTRE, 12, "0234", "49000", "33", (
        ("Thành phố Huế", "Phường Vĩnh Ninh, Phường Phú Hội, Phường Xuân Phú, Phường An Cựu"),
        ("Thị xã Hương Thủy", "Phường Phú Bài, Phường Thủy Dương"),
    )),
    Province("Quảng Nam", CENTRE, 10, "0235", "51000", "40", (
        ("Thành phố Tam Kỳ", "Phường Tân Thạnh, Phường An Mỹ, Phường An Xuân"),
        ("Thành phố Hội An", "Phường Minh An, Phường Cẩm Phô, Phường Sơn Phong"),
        ("Thị xã Điện Bàn", "Phường Vĩnh Điện, Phường Điện Ngọc"),
    )),
    Province("Quảng Ngãi", CENTRE, 7, "0255", "53000", "43", (
        ("Thành phố Quảng Ngãi", "Phường Trần Phú, Phường Nghĩa Lộ, Phường Lê Hồng Phong"),
    )),
    Province("Bình Định", CENTRE, 10, "0256", "55000", "41", (
        ("Thành phố Quy Nhơn", "Phường Trần Phú, Phường Lê Lợi, Phường Nhơn Phú, Phường Ghềnh Ráng"),
        ("Thị xã An Nhơn", "Phường Bình Định, Phường Đập Đá"),
    )),
    Province("Khánh Hòa", CENTRE, 14, "0258", "57000", "42", (
        ("Thành phố Nha Trang", "Phường Lộc Thọ, Phường Phước Hải, Phường Vĩnh Hải, Phường Phương Sài"),
        ("Thành phố Cam Ranh", "Phường Cam Phú, Phường Cam Thuận"),
    )),
    Province("Bình Thuận", CENTRE, 7, "0252", "77000", "34", (
        ("Thành phố Phan Thiết", "Phường Phú Thủy, Phường Mũi Né, Phường Xuân An"),
    )),
    Province("Lâm Đồng", CENTRE, 11, "0263", "66000", "58", (
        ("Thành phố Đà Lạt", "Phường 1, Phường 2, Phường 8, Phường 9"),
        ("Thành phố Bảo Lộc", "Phường 2, Phường B'lao, Phường Lộc Phát"),
    )),
    Province("Đắk Lắk", CENTRE, 11, "0262", "63000", "60", (
        ("Thành phố Buôn Ma Thuột", "Phường Tân Lợi, Phường Tân Lập, Phường Thắng Lợi, Phường Ea Tam"),
        ("Thị xã Buôn Hồ", "Phường An Lạc, Phường An Bình"),
    )),
    Province("Gia Lai", CENTRE, 7, "0269", "61000", "59", (
        ("Thành phố Pleiku", "Phường Diên Hồng, Phường Hội Thương, Phường Yên Đỗ"),
    )),
    Province("Tây Ninh", SOUTH, 8, "0276", "80000", "39", (
        ("Thành phố Tây Ninh", "Phường 1, Phường 2, Phường 3, Phường Hiệp Ninh"),
        ("Thị xã Trảng Bàng", "Phường Trảng Bàng, Phường An Tịnh"),
    )),
    Province("Bình Phước", SOUTH, 8, "0271", "67000", "38", (
        ("Thành phố Đồng Xoài", "Phường Tân Phú, Phường Tân Bình, Phường Tân Đồng"),
        ("Thị xã Chơn Thành", "Phường Hưng Long, Phường Minh Hưng"),
    )),
    Province("Tiền Giang", SOUTH, 11, "0273", "84000", "12", (
        ("Thành phố Mỹ Tho", "Phường 1, Phường 4, Phường 5, Phường 6"),
        ("Huyện Cái Bè", "Thị trấn Cái Bè, Xã Hòa Khánh"),
    )),
    Province("Bến Tre", SOUTH, 7, "0275", "86000", "13", (
        ("Thành phố Bến Tre", "Phường An Hội, Phường Phú Khương, Phường Phú Tân"),
    )),
    Province("Vĩnh Long", SOUTH, 7, "0270", "85000", "15", (
        ("Thành phố Vĩnh Long", "Phường 1, Phường 4, Phường 9, Phường Trường An"),
    )),
    Province("Đồng Tháp", SOUTH, 9, "0277", "81000", "14", (
        ("Thành phố Cao Lãnh", "Phường 1, Phường 4, Phường Mỹ Phú"),
        ("Thành phố Sa Đéc", "Phường 1, Phường 2, Phường An Hòa"),
    )),
    Province("An Giang", SOUTH, 10, "0296", "90000", "16", (
        ("Thành phố Long Xuyên", "Phường Mỹ Bình, Phường Mỹ Long, Phường Mỹ Xuyên, Phường Mỹ Phước"),
        ("Thành phố Châu Đốc", "Phường Châu Phú A, Phường Núi Sam"),
    )),
    Province("Kiên Giang", SOUTH, 10, "0297", "91000", "17", (
        ("Thành phố Rạch Giá", "Phường Vĩnh Thanh Vân, Phường An Hòa, Phường Vĩnh Lạc"),
        ("Thành phố Phú Quốc", "Phường Dương Đông, Phường An Thới, Xã Dương Tơ"),
    )),
    Province("Sóc Trăng", SOUTH, 6, "0299", "96000", "22", (
        ("Thành phố Sóc Trăng", "Phường 2, Phường 3, Phường 6"),
    )),
    Province("Cà Mau", SOUTH, 6, "0290", "98000", "20", (
        ("Thành phố Cà Mau", "Phường 2, Phường 5, Phường 9, Phường Tân Xuyên"),
    )),
)  # fmt: skip
